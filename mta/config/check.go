package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// check holds the values against each other and fills in those that follow from others.
func (r *reader) check() {
	r.checkNames()
	r.checkPaths()
	r.checkDomains()
	r.checkTLS()
	r.checkSMTPD()
	r.checkPOP3D()
	r.checkMetrics()
	r.checkQueue()
	r.checkOutbound()
	r.checkPrograms()
	r.checkCheckpassword()
	r.checkRoutes()
	r.checkFilters()
	r.checkACME()
}

func (r *reader) warn(text string) { r.cfg.warnings = append(r.cfg.warnings, text) }

// checkNames fills Hostname and Origin.
func (r *reader) checkNames() {
	c := r.cfg
	if c.Hostname == "" {
		if c.Hostname = machineName(); c.Hostname == "" {
			r.fault(r.root.get("hostname"), "hostname", "not set, and the machine has no name that mail could use; allowed: the host's full name")
			c.Hostname = "localhost"
		}
	}
	r.name(&c.Hostname, "hostname")
	if !strings.Contains(c.Hostname, ".") {
		r.warn("hostname " + c.Hostname + " has no domain: other servers may refuse mail from here")
	}
	if c.Origin == "" {
		c.Origin = c.Hostname
	}
	r.name(&c.Origin, "origin")
	r.recipient(r.root.get("postmaster"), "postmaster", c.Postmaster)
}

// name checks a domain name and puts it in A-labels.
func (r *reader) name(s *string, path ...string) {
	ascii, _, err := domainName(*s)
	if err != nil {
		r.fault(r.root.get(path...), strings.Join(path, "."), "%q: %v; allowed: a name as in \"mail.example.org\"", *s, err)
		ascii = "localhost" // so that what follows from it is not told as well
	}
	*s = ascii
}

// recipient checks an address or a local part.
func (r *reader) recipient(n *node, key, s string) {
	address := s
	if !strings.Contains(s, "@") {
		address += "@localhost"
	}
	if _, err := mta.ParseAddress(address); err != nil {
		r.fault(n, key, "%q: %v; allowed: an address, or a local part alone", s, err)
	}
}

// absolute checks a path; one that is "" is not set.
func (r *reader) absolute(s string, path ...string) {
	r.absoluteAt(r.root.get(path...), strings.Join(path, "."), s)
}

func (r *reader) absoluteAt(n *node, key, s string) {
	if s != "" && !filepath.IsAbs(s) {
		r.fault(n, key, "%q is not absolute; allowed: a path that begins with /", s)
	}
}

// required checks a path that may not be empty.
func (r *reader) required(s string, path ...string) {
	if s == "" {
		r.fault(r.root.get(path...), strings.Join(path, "."), "empty; allowed: a path that begins with /")
		return
	}
	r.absolute(s, path...)
}

func (r *reader) checkPaths() {
	c := r.cfg
	r.required(c.State, "state")
	r.required(c.Run, "run")
	r.required(c.Spool.Path, "spool", "path")
	r.required(c.Users.File, "users", "file")
	r.absolute(c.TLS.Certificate, "tls", "certificate")
	r.absolute(c.TLS.Key, "tls", "key")
	r.absolute(c.Mailboxes.Welcome, "mailboxes", "welcome")
	r.required(c.Filters.Directory, "filters", "directory")
	r.required(c.Filters.Settings, "filters", "settings")
	r.absolute(c.Outbound.SmartHostLogin, "outbound", "smart_host_login")
	r.required(c.ACME.Output, "acme", "output")
	r.checkMailboxPath()
	if p := c.Mailboxes.SystemPath; !strings.HasPrefix(p, "~/") && !filepath.IsAbs(p) {
		r.fault(r.root.get("mailboxes", "system_path"), "mailboxes.system_path", "%q; allowed: a path that begins with ~/ or /", p)
	}
}

// checkMailboxPath looks for what would put two users into one mailbox, or a mailbox where a name can lead it.
func (r *reader) checkMailboxPath() {
	n, key, path := r.root.get("mailboxes", "path"), "mailboxes.path", r.cfg.Mailboxes.Path
	r.required(path, "mailboxes", "path")
	if !strings.Contains(path, "{local}") || !strings.Contains(path, "{domain}") {
		r.fault(n, key, "%q; allowed: a path with {domain} and {local} in it", path)
	}
	rest := strings.NewReplacer("{local}", "", "{domain}", "").Replace(path)
	if strings.ContainsAny(rest, "{}") {
		r.fault(n, key, "%q has a brace that belongs to neither {domain} nor {local}", path)
	}
	if filepath.IsAbs(path) && filepath.Clean(path) != path {
		r.fault(n, key, "%q; allowed: a path without //, . and .., and without / at its end", path)
	}
}

func (r *reader) checkQueue() {
	q := r.cfg.Queue
	if q.RetryFirst > q.RetryMax {
		n := r.root.get("queue", "retry_first")
		if n == nil {
			n = r.root.get("queue", "retry_max")
		}
		r.fault(n, "queue.retry_first", "longer than queue.retry_max; allowed: %q at most", FormatDuration(q.RetryMax))
	}
}

func (r *reader) checkOutbound() {
	o := &r.cfg.Outbound
	if o.Helo == "" {
		o.Helo = r.cfg.Hostname
	} else {
		r.name(&o.Helo, "outbound", "helo")
	}
	n := r.root.get("outbound", "smart_host")
	switch o.SmartHost.Kind {
	case "", ToSMTP, ToSMTPS, ToLMTP:
	default:
		r.fault(n, "outbound.smart_host", "%q is no host; allowed: smtp:, smtps:, lmtp:", o.SmartHost)
	}
	if o.SmartHost.Path != "" && o.SmartHostLogin != "" {
		r.fault(r.root.get("outbound", "smart_host_login"), "outbound.smart_host_login", "with a Unix socket, which has no TLS; a password needs it")
	}
	if o.SmartHostLogin != "" && n == nil {
		r.fault(r.root.get("outbound", "smart_host_login"), "outbound.smart_host_login", "there is no outbound.smart_host to log in to")
	}
}

func (r *reader) checkRoutes() {
	list := r.root.get("route")
	for i := range r.cfg.Routes {
		r.checkRoute(list.item(i), &r.cfg.Routes[i])
	}
}

// hasMailboxes says whether mail for a domain stays here.
func (r *reader) hasMailboxes(d *Domain) bool {
	if other := r.cfg.Domains[d.AliasOf]; other != nil {
		d = other
	}
	return d.Mailboxes != "relay"
}

func (r *reader) checkRoute(n *node, route *Route) {
	at := func(key string) *node {
		if v := n.get(key); v != nil {
			return v
		}
		return n
	}
	name := strings.TrimPrefix(route.Domain, ".")
	if ascii, _, err := domainName(name); err == nil {
		route.Domain = strings.TrimSuffix(route.Domain, name) + ascii
	} else if route.Domain != "*" {
		r.fault(at("domain"), "route.domain", "%q; allowed: a name, \".suffix\" or \"*\"", route.Domain)
	}
	if d := r.cfg.Domains[route.Domain]; d != nil && r.hasMailboxes(d) {
		r.warn(fmt.Sprintf("no mail goes by the route for %s, which has its mailboxes here; for another way, mailboxes = \"relay\" in [domains.%q]", d.Name, d.Name))
	}
	switch route.To.Kind {
	case "":
		if v := n.get("to"); v == nil || v.scalar == "" {
			r.fault(at("to"), "route.to", "missing; allowed: %s", targetForms)
		}
	case ToProgram:
		if _, ok := r.cfg.Programs[route.To.Name]; !ok {
			r.fault(at("to"), "route.to", "there is no [programs.%s]; allowed: the name of one", route.To.Name)
		}
	}
	if route.To.Path != "" && (route.TLS == "encrypt" || route.TLS == "verify" || route.Login != "") {
		r.fault(at("tls"), "route.tls", "%q is a Unix socket, which has no TLS; allowed: \"none\", and no login", route.To)
	}
	r.absoluteAt(at("login"), "route.login", route.Login)
	if route.Login == "" {
		return
	}
	if k := route.To.Kind; k == ToDiscard || k == ToError {
		r.fault(at("login"), "route.login", "%q asks for no login", route.To)
	}
	if route.TLS != "" && route.TLS != "verify" {
		r.fault(at("tls"), "route.tls", "%q with a login; allowed: \"verify\", the password goes to no other", route.TLS)
	}
}
