package filters

import "net/netip"

// Event is all that is known of a session so far, at each stage anew: a filter has to remember nothing.
type Event struct {
	Session    string // as in smtpd's log
	Role       string
	Listener   string         // its address in the configuration
	Client     netip.AddrPort // of the network; not valid for a local client
	ClientName string         // verified: its addresses hold the client's; "" = unknown
	Local      bool           // the client came by the Unix socket
	UID        uint32         // then
	TLSVersion string         // "" = no TLS
	TLSCipher  string
	Login      string // "" = nobody
	Helo       string
	ESMTP      bool // EHLO, not HELO

	HasSender bool   // MAIL was given
	Sender    string // "" = the null sender
	BodyType  string // 7BIT or 8BITMIME
	SMTPUTF8  bool
	AuthParam string // MAIL's AUTH=
	SizeParam int64  // MAIL's SIZE=, 0 = not given

	Recipient  string   // the one that Recipient is about
	Recipients []string // those taken so far; all of them at Message
	Message    *Message // at Message, else nil
	Notes      []Note   // of the filters before this one, in all stages so far
	Score      float64  // their sum so far
}

// Note is a finding, in the words of RFC 8601: it becomes a result in Authentication-Results, and later filters read it.
type Note struct {
	Filter     string // who found it; set by smtpd
	Method     string // spf, dkim, ...
	Result     string // pass, fail, ...
	Reason     string
	Properties []Property
	Hidden     bool // for later filters alone
}

// Property is one ptype.name=value (RFC 8601 2.3): smtp.mailfrom=a@example.org.
type Property struct{ Type, Name, Value string }

// Find returns the notes of a method.
func (e *Event) Find(method string) []Note {
	var found []Note
	for _, n := range e.Notes {
		if n.Method == method {
			found = append(found, n)
		}
	}
	return found
}

// Get returns the value of the first property of that type and name, "" where there is none.
func (n Note) Get(ptype, name string) string {
	for _, p := range n.Properties {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}
