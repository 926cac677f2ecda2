package sasl

import "crypto/tls"

// The names of channel binding types, as IANA registers them.
const (
	tlsExporter = "tls-exporter"
	tlsUnique   = "tls-unique"
)

// Bindings is the channel binding data of a TLS connection, by the name of the type. An empty one binds to nothing:
// SCRAM-SHA-256-PLUS is not offered.
type Bindings map[string][]byte

// BindingsOf returns what a client can bind to on a connection, after its handshake; nil without TLS, and for TLS that
// lets two connections have the same values. The package comment has the reasons for the choice.
func BindingsOf(state *tls.ConnectionState) Bindings {
	if state == nil || !state.HandshakeComplete || state.Version < tls.VersionTLS12 {
		return nil
	}
	// RFC 9266 2: an empty context, which is not the same as none before TLS 1.3. Without the extended master secret this
	// is an error (RFC 9266 4.2).
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		return nil
	}
	b := Bindings{tlsExporter: exported}
	if state.Version == tls.VersionTLS12 && len(state.TLSUnique) > 0 {
		b[tlsUnique] = state.TLSUnique
	}
	return b
}
