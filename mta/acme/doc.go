// Package acme obtains certificates from an ACME authority (RFC 8555) and puts them where the daemons read them. It is for
// `posthouse cert` alone.
//
// It works in two steps, which two users may do. Obtain speaks to the network: it answers HTTP-01 (RFC 8555 8.3) on a listener
// of its own, or DNS-01 (8.4) by a program of the operator's, and keeps all it has under Options.State. Install takes what is
// there to where the configuration says, and trusts nothing that it has not checked. A certificate's key is kept when it is
// renewed, so that a TLSA record of it stays right (RFC 7672 3.1.1).
//
//	state/account-HOST.pem, .json  the account at a directory: its key, and what the authority calls it
//	state/NAME/key.pem             the key of a certificate
//	state/NAME/fullchain.pem       the certificate and its intermediates
//	state/NAME/state.json          when it was obtained and from where, and how the last attempt ended
package acme
