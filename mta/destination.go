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

// Destination is a place off this host that takes messages: the mail exchangers of Domain, or Host when it is set.
// Two equal Destinations are the same place; recipients of one message with equal ones share a transaction.
type Destination struct {
	Domain   string   // in A-labels, or an address literal
	Host     string   // a name or an IP address, whose MX records are not asked for
	Port     int      // 0 = the usual one
	Implicit bool     // TLS from the first octet (RFC 8314)
	TLS      TLSLevel // "" = the sender's own default
	Login    string   // the file that holds user and password; "" = none
}

// String names the place as logs and limits do: "example.org" or "smtp:mx.example.org:25".
func (d Destination) String() string {
	if d.Host == "" {
		return d.Domain
	}
	scheme, port := "smtp", d.Port
	if d.Implicit {
		scheme = "smtps"
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
