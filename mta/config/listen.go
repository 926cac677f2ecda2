package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// maxSocketPath is what sun_path of unix(7) holds, less the zero octet at its end.
const maxSocketPath = 107

// SplitListen reads the address of a listener: ":25", "192.0.2.1:25" and "[2001:db8::1]:25" are network "tcp",
// "unix:/path" is network "unix" with the path as its address. Port 0 lets the kernel choose.
func SplitListen(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || len(path) > maxSocketPath {
			return "", "", errors.New("no absolute path of 107 octets at most")
		}
		return "unix", path, nil
	}
	host, port := "", s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	} else {
		return "", "", errors.New("no port")
	}
	if n, err := number(port); err != nil || n > 65535 || strconv.FormatInt(n, 10) != port {
		return "", "", errors.New("no port within 0 and 65535")
	}
	if host != "" {
		if _, err := netip.ParseAddrPort(s); err != nil {
			return "", "", errors.New("no IP address before the port")
		}
	}
	return "tcp", s, nil
}

const listenForms = `":25", "192.0.2.1:25", "[2001:db8::1]:25" or "unix:/path"`

// listenAddress checks one address; seen holds those before it.
func (r *reader) listenAddress(n *node, key, address string, seen map[string]*node) (network string) {
	if v := n.get("address"); v != nil {
		n = v
	}
	network, where, err := SplitListen(address)
	if err != nil {
		r.fault(n, key, "%q: %v; allowed: %s", address, err, listenForms)
		return ""
	}
	if other := seen[where]; other != nil && !strings.HasSuffix(where, ":0") {
		r.fault(n, key, "%q listens at %s:%d already; allowed: once", address, other.file, other.line)
	}
	seen[where] = n
	return network
}

func (r *reader) checkSMTPD() {
	s := &r.cfg.SMTPD
	list, seen := r.root.get("smtpd", "listen"), map[string]*node{}
	for i := range s.Listen {
		r.checkSMTPListen(list.item(i), &s.Listen[i], seen)
	}
	if s.MaxMessageSize < s.MaxLine {
		n := r.root.get("smtpd", "max_message_size")
		r.fault(n, "smtpd.max_message_size", "less than smtpd.max_line; allowed: %s at least", s.MaxLine)
	}
	for i, p := range s.TrustedNetworks {
		if p.Bits() < 8 {
			r.fault(r.root.get("smtpd", "trusted_networks").item(i), "smtpd.trusted_networks", "%q is no network of yours: this would be an open relay; allowed: /8 at the widest", p)
		} else if p.Addr().IsLoopback() {
			r.warn("smtpd.trusted_networks holds " + p.String() + ": whatever forwards a port to this host may relay")
		}
	}
	for i, u := range s.TrustedUsers {
		if u == "" || strings.ContainsAny(u, ": \t/") {
			r.fault(r.root.get("smtpd", "trusted_users").item(i), "smtpd.trusted_users", "%q is no user's name", u)
		}
	}
}

func (r *reader) checkSMTPListen(n *node, l *SMTPListen, seen map[string]*node) {
	network := r.listenAddress(n, "smtpd.listen.address", l.Address, seen)
	at := func(k string) *node {
		if v := n.get(k); v != nil {
			return v
		}
		return n
	}
	switch {
	case l.Role == "" && n.get("role") == nil:
		r.fault(n, "smtpd.listen.role", "missing; allowed: \"mx\", \"submission\", \"local\", \"lmtp\"")
	case l.Role == "local" && network == "tcp":
		r.fault(at("role"), "smtpd.listen.role", "\"local\" on a network address: there the kernel vouches for nobody; allowed: with unix:/path")
	case (l.Role == "mx" || l.Role == "submission") && network == "unix":
		r.fault(at("role"), "smtpd.listen.role", "%q on a Unix socket; allowed: \"local\", \"lmtp\"", l.Role)
	case l.Role == "lmtp" && strings.HasSuffix(l.Address, ":25"): // RFC 2033 section 5
		r.fault(at("role"), "smtpd.listen.role", "\"lmtp\" on port 25: who connects there speaks SMTP; allowed: another port, or unix:/path")
	case l.Role == "lmtp" && network == "tcp" && len(r.cfg.SMTPD.TrustedNetworks) == 0:
		r.warn("smtpd listener " + l.Address + " has role lmtp, and smtpd.trusted_networks is empty: nobody may deliver there")
	}
	if network == "unix" {
		if v := n.get("tls"); v != nil && l.TLS != "none" {
			r.fault(v, "smtpd.listen.tls", "%q on a Unix socket; allowed: \"none\"", l.TLS)
		}
		l.TLS = "none"
	}
	r.fillTLS(&l.TLS, "smtpd", l.Address)
	if l.Role == "submission" && l.TLS == "none" {
		r.warn("smtpd listener " + l.Address + " has role submission and no TLS: nobody can log in there")
	}
	if l.MaxMessageSize == 0 {
		l.MaxMessageSize = r.cfg.SMTPD.MaxMessageSize
	}
}

// fillTLS gives a listener its default, and says what a missing certificate makes of it.
func (r *reader) fillTLS(tls *string, program, address string) {
	has := r.cfg.TLS.Certificate != ""
	switch {
	case *tls == "" && has:
		*tls = "starttls"
	case *tls == "" || *tls == "starttls" && !has:
		*tls = "none"
	case *tls == "implicit" && !has:
		r.warn(program + " listener " + address + " stays closed: it needs tls.certificate")
	}
}

func (r *reader) checkPOP3D() {
	p := &r.cfg.POP3D
	list, seen := r.root.get("pop3d", "listen"), map[string]*node{}
	for i, n := range r.cfg.SMTPD.Listen {
		if _, where, err := SplitListen(n.Address); err == nil {
			seen[where] = r.root.get("smtpd", "listen").item(i)
		}
	}
	for i := range p.Listen {
		n, l := list.item(i), &p.Listen[i]
		if r.listenAddress(n, "pop3d.listen.address", l.Address, seen) == "unix" {
			r.fault(n, "pop3d.listen.address", "%q is a Unix socket; allowed: a network address", l.Address)
		}
		r.fillTLS(&l.TLS, "pop3d", l.Address)
	}
	if len(p.Listen)+len(r.cfg.SMTPD.Listen) == 0 {
		r.warn("no [[smtpd.listen]] and no [[pop3d.listen]]: no mail comes in over the network")
	}
	if p.Expire != "never" {
		if d, err := ParseDuration(p.Expire); err != nil || !strings.HasSuffix(p.Expire, "d") || d == 0 {
			r.fault(r.root.get("pop3d", "expire"), "pop3d.expire", "%q; allowed: \"never\", or whole days as in \"30d\"", p.Expire)
		}
	}
	r.checkDefaultDomain()
}

// checkDefaultDomain fills DefaultDomain with the only domain that has mailboxes; that of the host's name counts when it is alone.
func (r *reader) checkDefaultDomain() {
	p := &r.cfg.POP3D
	if p.DefaultDomain != "" {
		r.name(&p.DefaultDomain, "pop3d", "default_domain")
		if d := r.cfg.Domain(p.DefaultDomain); d == nil || d.Mailboxes == "relay" {
			r.fault(r.root.get("pop3d", "default_domain"), "pop3d.default_domain", "%q has no mailboxes here; allowed: one of [domains]", p.DefaultDomain)
		}
		return
	}
	var names []string
	for _, name := range r.cfg.LocalDomains() {
		if d := r.cfg.Domains[name]; d.Mailboxes != "relay" && d.AliasOf == "" && !d.Implicit {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		p.DefaultDomain = r.cfg.Hostname
	case 1:
		p.DefaultDomain = names[0]
	}
}

// checkMetrics checks the listeners of [metrics], beside those for mail.
func (r *reader) checkMetrics() {
	seen := map[string]*node{}
	remember := func(address string, n *node) {
		if _, where, err := SplitListen(address); err == nil {
			seen[where] = n
		}
	}
	for i, l := range r.cfg.SMTPD.Listen {
		remember(l.Address, r.root.get("smtpd", "listen").item(i))
	}
	for i, l := range r.cfg.POP3D.Listen {
		remember(l.Address, r.root.get("pop3d", "listen").item(i))
	}
	m := r.cfg.Metrics
	for _, l := range []struct{ name, address string }{{"smtpd", m.SMTPD}, {"queue_runner", m.QueueRunner}, {"pop3d", m.POP3D}} {
		if n := r.root.get("metrics", l.name); n != nil && l.address != "" {
			r.listenAddress(n, "metrics."+l.name, l.address, seen)
		}
	}
}
