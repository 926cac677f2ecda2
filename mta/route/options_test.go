package route_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/route"
)

func TestOptionsOfAConfiguration(t *testing.T) {
	dir := t.TempDir()
	login := filepath.Join(dir, "login")
	aliases := filepath.Join(dir, "aliases")
	userFile := filepath.Join(dir, "users")
	for path, text := range map[string]string{login: "user:password\n", aliases: "team: alice\nlists: |archive\n", userFile: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "posthouse.toml")
	text := `hostname = "host.test"
postmaster = "admin@example.test"
state = "` + dir + `/state"
run = "` + dir + `/run"
[spool]
path = "` + dir + `/spool"
[users]
file = "` + userFile + `"
[mailboxes]
path = "` + dir + `/mail/{domain}/{local}"
[domains."example.test"]
aliases = "` + aliases + `"
catch_all = "erin"
[domains."aka.test"]
alias_of = "example.test"
[domains."backup.test"]
mailboxes = "relay"
recipients = "any"
[outbound]
tls = "encrypt"
smart_host = "smtps:smart.test"
smart_host_login = "` + login + `"
[programs.archive]
command = ["/bin/true"]
user = "nobody"
[[route]]
domain = ".partner.test"
to = "smtp:mx.partner.test:2525"
[[route]]
domain = "bad.test"
to = "error:5.1.2 no such place"
[[route]]
domain = "void.test"
to = "discard"
`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(conf)
	if err != nil {
		t.Fatal(err)
	}
	o := route.FromConfig(c)
	o.Users = users{"alice@example.test": "", "erin@example.test": ""}
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rcpt, want string }{
		{"team@example.test", "mailbox alice@example.test"},
		{"lists@example.test", "program archive"},
		{"nobody@aka.test", "mailbox erin@example.test"},
		{"x@backup.test", "remote backup.test"},
		{"x@a.partner.test", "remote smtp:mx.partner.test:2525"},
		{"x@bad.test", "refused 550 5.1.2"},
		{"x@void.test", "discard"},
		{"x@far.test", "remote smtps:smart.test:465"},
	} {
		if got := show(r.Route(t.Context(), addr(c.rcpt))); got != c.want {
			t.Errorf("Route(%s) = %s, want %s", c.rcpt, got, c.want)
		}
	}
	want := mta.Destination{Host: "smart.test", Port: 465, Implicit: true, TLS: mta.TLSVerify, Login: login}
	if got := r.Route(t.Context(), addr("x@far.test")).Dest; got != want {
		t.Errorf("smart host: got %+v, want %+v", got, want)
	}
	want = mta.Destination{Host: "mx.partner.test", Port: 2525, TLS: mta.TLSEncrypt}
	if got := r.Route(t.Context(), addr("x@a.partner.test")).Dest; got != want {
		t.Errorf("route: got %+v, want %+v", got, want)
	}
}
