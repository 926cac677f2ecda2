// Package proto is the wire between smtpd and a filter, generated from filter.proto, and the words of the handshake before
// it. A filter in Go uses package filters above it; filter.proto itself is what an author in another language needs.
package proto

//go:generate ./generate

// The handshake of hashicorp/go-plugin: CookieKey is in the environment with CookieValue, and the first line that the
// filter prints is "1|ProtocolVersion|unix|PATH OF ITS SOCKET|grpc".
const (
	CookieKey       = "POSTHOUSE_FILTER"
	CookieValue     = "where mail changes horses"
	ProtocolVersion = 1
	PluginName      = "filter"
)
