package tlsconf

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Level is how much a client asks of a server's certificate.
type Level uint8

const (
	// Unverified takes any certificate: against who listens, not against who stands between (RFC 7435). It is right for SMTP
	// to an MX without a policy, where the alternative is no TLS at all.
	Unverified Level = iota
	// Verified asks for a chain to the system's roots and the server's name (RFC 9525).
	Verified
)

// Client returns a new configuration to connect to a server of that name, which is sent as SNI; names end without a dot.
func Client(level Level, serverName string) *tls.Config {
	return &tls.Config{
		ServerName:         strings.TrimSuffix(serverName, "."),
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: level == Unverified,
	}
}

// VersionName returns a version as trace fields and logs have it: TLSv1.3.
func VersionName(version uint16) string {
	switch version {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return fmt.Sprintf("TLS-%04x", version)
}

// CipherName returns a cipher suite's name in IANA's registry.
func CipherName(suite uint16) string { return tls.CipherSuiteName(suite) }

// Describe returns version and cipher of a connection, with a blank between.
func Describe(state tls.ConnectionState) string {
	return VersionName(state.Version) + " " + CipherName(state.CipherSuite)
}
