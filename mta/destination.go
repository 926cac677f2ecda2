package mta

import (
	"strconv"
	"strings"
)

// TLSLevel is what a destination asks of TLS; the zero level is TLSOpportunistic. The values are those of the
// configuration.
type TLSLevel string

// The levels, each including what the one before it gives.
const (
	TLSNone          TLSLevel = "none"          // never
	TLSOpportunistic TLSLevel = "opportunistic" // where the server offers it and it works (RFC 7435)
	TLSEncrypt       TLSLevel = "encrypt"       // or not at all; any certificate
	TLSVerify        TLSLevel = "verify"        // or not at all; a chain to a trusted root and the right name
)

// Destination is a place that takes messages over SMTP or LMTP: the mail exchangers of Domain, or Host or Path when it
// is set.
// Two equal Destinations are the same place; recipients of one message with equal ones share a transaction.
type Destination struct {
	Domain   string   // in A-labels, or an address literal
	Host     string   // a name or an IP address, whose MX records are not asked for
	Path     string   // a Unix socket
	LMTP     bool     // the server speaks LMTP (RFC 2033); with Host or Path
	Port     int      // 0 = the usual one
	Implicit bool     // TLS from the first octet (RFC 8314)
	TLS      TLSLevel // "" = the sender's own default
	Login    string   // the file that holds user and password; "" = none
}

// Named says that the place is given by the configuration, and no MX records tell where it is.
func (d Destination) Named() bool { return d.Host != "" || d.Path != "" }

// String names the place as logs and limits do: "example.org", "smtp:mx.example.org:25" or "lmtp:unix:/run/lmtp".
func (d Destination) String() string {
	if !d.Named() {
		return d.Domain
	}
	scheme, port := "smtp", d.Port
	switch {
	case d.LMTP:
		scheme = "lmtp"
	case d.Implicit:
		scheme = "smtps"
	}
	if d.Path != "" {
		return scheme + ":unix:" + d.Path
	}
	if port == 0 {
		return scheme + ":" + d.Host
	}
	host := d.Host
	if strings.Contains(host, ":") { // an IPv6 address
		host = "[" + host + "]"
	}
	return scheme + ":" + host + ":" + strconv.Itoa(port)
}
