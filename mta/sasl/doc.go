// Package sasl is the server's side of SASL (RFC 4422) for smtpd's AUTH (RFC 4954) and pop3d's AUTH (RFC 5034): PLAIN
// (RFC 4616), LOGIN, which has no RFC and which old mail programs insist on, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC
// 5802, 7677). It knows no user: the caller gives it Accounts. Nothing here may be offered on a connection without TLS;
// that is the caller's rule to keep.
//
// # How a protocol drives it
//
// The protocol knows its TLS connection's state, nil without TLS, and begins by telling what there is:
//
//	bind := sasl.BindingsOf(state)                      // after the handshake
//	names := sasl.Mechanisms(accounts, bind)            // for EHLO, or CAPA's SASL line
//
// When the client sends AUTH mechanism [initial-response], the exchange runs until it is done or has failed. In SMTP a
// challenge is "334 " and base64, in POP3 "+ " and base64; an empty challenge is the prefix alone, with its blank:
//
//	x, err := sasl.New(ctx, mechanism, accounts, bind)  // ErrMechanism: 504 5.5.4 or -ERR, and no exchange
//	response, err := sasl.DecodeInitial(argument)       // "" is none (nil), "=" is empty
//	for done := false; err == nil; {
//		var challenge []byte
//		if challenge, done, err = x.Next(response); done || err != nil {
//			break
//		}
//		send("334 " + sasl.Encode(challenge))
//		response, err = sasl.Decode(readLine())         // "*" is ErrCancelled
//	}
//	// err == nil: x.Identity() is logged in: 235 2.7.0 or +OK
//
// The errors say what to answer: ErrCancelled, ErrMalformed, ErrCredentials, ErrTransition, ErrBinding, ErrBindingType; any
// other is a fault of ours, 454 4.7.0 or -ERR [SYS/TEMP]. ErrCredentials alone is a guess at a password, which is to be
// counted and slowed; it comes after exactly one call of Authenticate or Scram, which is where the login's name can be
// learned, and the delay be put that the login has earned. With SCRAM the server's signature goes out as one more
// challenge, to which the client answers with an empty line (RFC 4954 4, RFC 5034 4); the protocol need not know.
//
// # Channel binding
//
// SCRAM-SHA-256-PLUS proves that client and server are the two ends of one TLS connection, so that somebody in the middle
// with a certificate of his own gets nowhere. The binding types are tls-exporter (RFC 9266), and in TLS 1.2 tls-unique
// too (RFC 5929), which RFC 5802 section 6.1 asks for and which the clients of that time know. Both need TLS 1.3 or the
// extended master secret (RFC 7627), without which two connections can be made to agree on their values; so no binding,
// and no -PLUS, is offered on a connection of TLS 1.2 without it. tls-unique means nothing in TLS 1.3 (RFC 9266 section 3).
//
// tls-server-end-point (RFC 5929 section 4) is not offered: it binds to the certificate and not to the connection, so it
// says nothing against who has a copy of the key, or stands before the server with the same certificate. A client that
// knows nothing else is told 504 and can use SCRAM-SHA-256.
//
// A client that could bind and was not shown -PLUS says so with the flag "y". Where it was offered, somebody has cut it
// out of the list, and the exchange ends with ErrBinding (RFC 5802 section 6).
package sasl
