package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// listener is a network socket of the demo.
type listener struct {
	table   string // its table in the configuration
	role    string // of smtpd's
	address string
	tls     string // "" = STARTTLS or STLS
}

// Where the demo is reached; settings.go tells a mail program the same.
var listeners = []listener{
	{"smtpd.listen", "mx", "127.0.0.1:2525", ""},
	{"smtpd.listen", "submission", submission, ""},
	{"smtpd.listen", "submission", "127.0.0.1:2465", "implicit"},
	{"pop3d.listen", "", pop3, ""},
	{"pop3d.listen", "", "127.0.0.1:2995", "implicit"},
}

const (
	submission = "127.0.0.1:2587"
	pop3       = "127.0.0.1:2110"
)

// name says which listener of the configuration it is.
func (l listener) name() string {
	s := fmt.Sprintf("[[%s]] address = %q", l.table, l.address)
	if l.role != "" {
		s += fmt.Sprintf(", role = %q", l.role)
	}
	return s
}

// text is the listener in the configuration.
func (l listener) text() string {
	s := fmt.Sprintf("[[%s]]\naddress = %q\n", l.table, l.address)
	if l.role != "" {
		s += fmt.Sprintf("role = %q\n", l.role)
	}
	if l.tls != "" {
		s += fmt.Sprintf("tls = %q\n", l.tls)
	}
	return s + "\n"
}

// portsFree names every address that somebody else has, before anything is started.
func portsFree(all []listener) error {
	var taken []error
	for _, l := range all {
		ln, err := net.Listen("tcp", l.address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			taken = append(taken, fmt.Errorf("%s is in use: another program listens there (ss -ltnp shows which); the demo needs it for %s", l.address, l.name()))
		case err != nil:
			taken = append(taken, fmt.Errorf("%s cannot be used for %s: %w", l.address, l.name(), err))
		default:
			taken = append(taken, ln.Close())
		}
	}
	if err := errors.Join(taken...); err != nil {
		return fmt.Errorf("nothing was started:\n%w", err)
	}
	return nil
}

// configText is the whole configuration of the instance.
func (in *instance) configText() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# The configuration of a demo, written anew each time it starts. posthouse.toml(5) describes each key.")
	line("hostname   = %q", hostname)
	line("origin     = %q", domain)
	line("postmaster = %q", alice)
	line("state      = %s", quote(in.path("state")))
	line("run        = %s", quote(in.run))
	line("\n[log]\nformat = \"text\"")
	line("\n[spool]\npath = %s", quote(in.path("spool")))
	line("\n[tls]\ncertificate = %s\nkey = %s", quote(in.cert()), quote(in.path("tls", "key.pem")))
	line("\n[domains.%q]", domain)
	line("\n[users]\nfile = %s", quote(in.path("users")))
	line("\n[mailboxes]\npath = %s", quote(filepath.Join(in.dir, "mail", "{domain}", "{local}")))
	line("\n# Nothing leaves this machine: mail to any other domain is refused, and no name server is asked.")
	line("[outbound]\nresolver = [\"127.0.0.1:53\"]")
	line("[[route]]\ndomain = \"*\"\nto = \"error:5.7.1 The demo sends no mail to other domains than %s\"\n", domain)
	line("[smtpd]\nrequire_sender_domain = false # nobody can say which exist\n")
	for _, l := range listeners {
		b.WriteString(l.text())
	}
	line("[[smtpd.listen]]\naddress = %s\nrole = \"local\"", quote("unix:"+in.socket()))
	return b.String()
}

// quote makes a TOML basic string of a path that writable has let pass.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
