package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta"
)

// write puts files into a fresh folder and returns the path of the first; "DIR" in them is that folder.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(files[i+1], "DIR", dir)), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

// faultsOf returns "LINE KEY: MSG" for each problem.
func faultsOf(t testing.TB, err error) []string {
	t.Helper()
	var all Errors
	if err == nil {
		return nil
	}
	if !errors.As(err, &all) {
		t.Fatalf("got an error of type %T, want Errors: %v", err, err)
	}
	var list []string
	for _, p := range all {
		list = append(list, fmt.Sprintf("%d %s: %s", p.Line, p.Key, p.Msg))
	}
	return list
}

// expect holds the problems against a list of "LINE KEY" or "LINE KEY: part of the message".
func expect(t testing.TB, err error, want ...string) {
	t.Helper()
	got := faultsOf(t, err)
	if len(got) != len(want) {
		t.Errorf("got %d faults, want %d\ngot:\n  %s\nwant:\n  %s", len(got), len(want), strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		return
	}
	for i := range got {
		place, part, _ := strings.Cut(want[i], ": ")
		if !strings.HasPrefix(got[i], place+": ") || !strings.Contains(got[i], part) {
			t.Errorf("fault %d: got %q, want %q", i, got[i], want[i])
		}
	}
}

const host = "hostname = \"mail.example.org\"\n"

func TestEveryFaultIsToldAtOnceWithItsLine(t *testing.T) {
	path := write(t, "posthouse.toml", `hostname = "-bad-"
Postmaster = "x"
spool.path = "relative"
[log]
level = "loud"
format = 3
[tls]
certificate = "/nowhere/cert.pem"
[domains."example.org"]
mailboxes = "unix"
alias_of = "nowhere.example"
delimeter = "+"
[domains."EXAMPLE.org"]
[users]
driver = "ldap"
[programs.lists]
command = ["true"]
[smtpd]
max_recipients = 5
max_message_size = 50
idle_timeout = "5 minutes"
trusted_networks = [
  "192.0.2.0/24",
  "192.0.2.1/24", # bits after the prefix
  "0.0.0.0/0",
]
"quoted key" = """
[not.a.table]
"""
[[smtpd.listen]]
address = "mail.example.org:25"
role = "uucp"
[[smtpd.listen]]
address = ":25"
role = "local"
[[smtpd.listen]]
address = ":25"
role = "mx"
[metrics]
smtpd = "127.0.0.1"
[[route]]
domain = "a b"
to = "smtp:"
[[route]]
domain = "*"
to = "program:lists"
tls = "none"
login = "/nowhere/login"
`)
	_, err := Load(path)
	expect(t, err,
		"1 hostname: allowed: a name",
		"2 Postmaster: unknown key; allowed: postmaster",
		"3 spool.path: not absolute",
		`5 log.level: "loud" is not known; allowed: "debug", "info", "warn", "error"`,
		"6 log.format: the whole number 3 where a string is wanted",
		"8 tls.key: not set, though there is a certificate",
		"8 tls.certificate: no such file",
		`10 domains."example.org".mailboxes: "unix" is not known; allowed: "virtual", "system", "relay"`,
		`11 domains."example.org".alias_of: there is no [domains."nowhere.example"]`,
		`12 domains."example.org".delimeter: unknown key; allowed: delimiter`,
		`13 domains."EXAMPLE.org": the same domain as at `,
		`15 users.ldap.base: dc=example,dc=org`,
		`15 users.ldap.url_file: not set, though users.driver is "ldap"`,
		`15 users.ldap.user: a filter`,
		"16 programs.lists.user: missing; allowed: a user of this machine",
		"17 programs.lists.command: allowed: a program's path from / on",
		"19 smtpd.max_recipients: 5 is out of range; allowed: 100 to 100000",
		"20 smtpd.max_message_size: a size in quotation marks",
		`21 smtpd.idle_timeout: "5 minutes" is no time`,
		`24 smtpd.trusted_networks: allowed: "192.0.2.0/24"`,
		"25 smtpd.trusted_networks: open relay",
		"27 smtpd.\"quoted key\": unknown key",
		"31 smtpd.listen.address: no IP address before the port",
		`32 smtpd.listen.role: "uucp" is not known; allowed: "mx", "submission", "local", "lmtp"`,
		"35 smtpd.listen.role: kernel vouches",
		`37 smtpd.listen.address: ":25" listens at `,
		"40 metrics.smtpd: ",
		"42 route.domain",
		"43 route.to: leads nowhere",
		`47 route.tls: "none" with a login`,
		"48 route.login: no such file",
	)
}

func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		// Text that is no configuration.
		{"an open string", "hostname = \"a\nstate = \"/x\"", "1 hostname: no TOML"},
		{"a key twice in one file", host + "state = \"/a\"\nstate = \"/b\"", "3 state: no TOML"},
		{"a NUL", host + "state = \"/a\x00\"", "2 state: no TOML"},
		{"an escape to a line end", host + `state = "/a\nb"`, "2 state: a control character"},
		{"bytes that are no UTF-8", host + "state = \"/\xff\"", "2 state: no TOML"},
		// Types.
		{"a table for a value", host + "[state]", "2 state: a table where a string is wanted"},
		{"a value for a table", host + "smtpd = 3", "2 smtpd: where a table is wanted"},
		{"a value for an array", host + "include = \"x\"", "2 include: where an array is wanted"},
		{"a value for a domain", host + "domains.a = 1", "2 domains.a: where a table is wanted"},
		{"a table for an array of tables", host + "[route]", "2 route: where an array is wanted"},
		{"a value in an array of tables", host + "route = [\n1]", "3 route: where a table is wanted"},
		{"a number in an array of strings", host + "[smtpd]\ntrusted_users = [\"a\",\n2]", "4 smtpd.trusted_users: the whole number 2"},
		{"a date", host + "state = 2026-01-01", "2 state: a date or time"},
		{"text for a truth", host + "[outbound]\nipv6 = \"no\"", "3 outbound.ipv6: true or false"},
		{"a fraction for a number", host + "[queue]\nmax_local = 1.5", "3 queue.max_local: the number 1.5 where a whole number"},
		// Case is part of a key.
		{"a table in capitals", host + "[SMTPD]\nmax_errors = 3", "2 SMTPD: unknown key; allowed: smtpd"},
		// Bounds.
		{"a negative number", host + "[queue]\nmax_local = -1", "3 queue.max_local: out of range"},
		{"a number beyond 64 bits", host + "[queue]\nmax_local = 99999999999999999999", "3 queue.max_local: no TOML"},
		{"a time too long", host + "[queue]\nlifetime = \"61d\"", "3 queue.lifetime: allowed: \"1m\" to \"60d\""},
		{"a time that overflows", host + "[queue]\nlifetime = \"999999999999d\"", "3 queue.lifetime: is no time"},
		{"a size that overflows", host + "[smtpd]\nmax_message_size = \"9999999999999GB\"", "3 smtpd.max_message_size: is no size"},
		{"a size with a sign", host + "[smtpd]\nmax_message_size = \"-1MB\"", "3 smtpd.max_message_size: is no size"},
		{"not a number", host + "[filters]\nscore_junk = nan", "3 filters.score_junk: NaN"},
		{"a line shorter than RFC 5321 wants", host + "[smtpd]\nmax_line = \"999\"", "3 smtpd.max_line: out of range"},
		{"growth of the interval backwards", host + "[queue]\nretry_first = \"5h\"", "3 queue.retry_first: longer than"},
		// Names.
		{"an address literal as the host's name", `hostname = "[192.0.2.1]"`, "1 hostname: address literal"},
		{"a postmaster with a blank", host + `postmaster = "a b"`, "2 postmaster"},
		{"an empty postmaster", host + `postmaster = ""`, "2 postmaster"},
		{"a domain that is none", host + `[domains."a..b"]`, `2 domains."a..b"`},
		{"one domain in two spellings", host + "[domains.\"xn--bcher-kva.example\"]\nmailboxes = \"relay\"\n[domains.\"bücher.example\"]", "4 domains.\"bücher.example\": the same domain"},
		{"an alias of itself", host + "[domains.a]\nalias_of = \"a\"", "3 domains.a.alias_of: its own name"},
		{"an alias of an alias", host + "[domains.a]\nalias_of = \"b\"\n[domains.b]\nalias_of = \"mail.example.org\"", "3 domains.a.alias_of: itself an alias"},
		{"an alias with its own catch_all", host + "[domains.a]\nalias_of = \"mail.example.org\"\ncatch_all = \"x\"", "4 domains.a.catch_all: beside alias_of"},
		{"a catch_all that is no address", host + "[domains.a]\nmailboxes = \"relay\"\ncatch_all = \"<x>\"", "4 domains.a.catch_all"},
		{"a delimiter of two", host + "[domains.a]\nmailboxes = \"relay\"\ndelimiter = \"+-\"", "4 domains.a.delimiter"},
		{"a delimiter that quotes", host + "[domains.a]\nmailboxes = \"relay\"\ndelimiter = \"@\"", "4 domains.a.delimiter"},
		{"any recipient where mailboxes are", host + "[domains.\"mail.example.org\"]\nrecipients = \"any\"\n[users]\nfile = \"DIR/posthouse.toml\"", `3 domains."mail.example.org".recipients: backup MX`},
		// Paths that would mix mailboxes.
		{"mailboxes without the user", host + "[mailboxes]\npath = \"/mail/{domain}\"", "3 mailboxes.path: {domain} and {local}"},
		{"mailboxes with an unknown brace", host + "[mailboxes]\npath = \"/mail/{domain}/{local}/{x}\"", "3 mailboxes.path: brace"},
		{"mailboxes above their folder", host + "[mailboxes]\npath = \"/mail/../{domain}/{local}\"", "3 mailboxes.path: without //"},
		{"a key without a certificate", host + "[tls]\nkey = \"DIR/posthouse.toml\"", "3 tls.certificate: not set"},
		// Listeners.
		{"a listener without a role", host + "[[smtpd.listen]]\naddress = \":25\"", "2 smtpd.listen.role: missing"},
		{"a listener without an address", host + "[[smtpd.listen]]\nrole = \"mx\"", "2 smtpd.listen.address: no port"},
		{"a port that is none", host + "[[pop3d.listen]]\naddress = \":65536\"", "3 pop3d.listen.address: no port within"},
		{"a port with a nought before it", host + "[[pop3d.listen]]\naddress = \":0110\"", "3 pop3d.listen.address: no port within"},
		{"a socket path too long", host + "[[smtpd.listen]]\nrole = \"local\"\naddress = \"unix:/" + strings.Repeat("a", 107) + "\"", "4 smtpd.listen.address: 107 octets"},
		{"one port for two programs", host + "[[smtpd.listen]]\naddress = \":25\"\nrole = \"mx\"\n[[pop3d.listen]]\naddress = \":25\"", "6 pop3d.listen.address: listens at"},
		{"TLS on the local socket", host + "[[smtpd.listen]]\naddress = \"unix:/s\"\nrole = \"local\"\ntls = \"implicit\"", "5 smtpd.listen.tls"},
		{"MX on a Unix socket", host + "[[smtpd.listen]]\naddress = \"unix:/s\"\nrole = \"mx\"", "4 smtpd.listen.role"},
		{"LMTP on the port of SMTP", host + "[[smtpd.listen]]\naddress = \":25\"\nrole = \"lmtp\"", "4 smtpd.listen.role: allowed: another port"},
		// Ways out.
		{"a login and no smart host", host + "[outbound]\nsmart_host_login = \"DIR/posthouse.toml\"", "3 outbound.smart_host_login: no outbound.smart_host"},
		{"a smart host that throws away", host + "[outbound]\nsmart_host = \"discard\"", "3 outbound.smart_host: is no host"},
		{"a route to nowhere", host + "[[route]]\ndomain = \"*\"", "2 route.to: missing"},
		{"a route for nobody", host + "[[route]]\nto = \"discard\"", "2 route.domain"},
		{"TLS on a Unix socket", host + "[[route]]\ndomain = \"*\"\nto = \"lmtp:unix:/run/x\"\ntls = \"verify\"", "5 route.tls: no TLS"},
		{"a password on a Unix socket", host + "[outbound]\nsmart_host = \"lmtp:unix:/run/x\"\nsmart_host_login = \"DIR/posthouse.toml\"", "4 outbound.smart_host_login: no TLS"},
		{"a program that is not there", host + "[[route]]\ndomain = \"*\"\nto = \"program:x\"", "4 route.to: there is no [programs.x]"},
		{"passwords by a program that is none", host + "[mailboxes]\nsystem_passwords = \"checkpassword\"", "3 mailboxes.system_passwords: \"checkpassword\" without users.checkpassword.command"},
		{"users by a program that is none", host + "[users]\ndriver = \"checkpassword\"", "3 users.driver: \"checkpassword\" without users.checkpassword.command"},
		{"a checkpassword program without a path", host + "[users.checkpassword]\ncommand = [\"checkpassword\"]", "3 users.checkpassword.command: a program's path from / on"},
		{"a checkpassword program that cannot be run", host + "[users.checkpassword]\ncommand = [\"DIR/posthouse.toml\", \"x\"]", "3 users.checkpassword.command: cannot be executed"},
		{"a checkpassword program that is not there", host + "[users.checkpassword]\ncommand = [\"/nowhere/checkpassword\"]", "3 users.checkpassword.command: no such file"},
		{"a refusal of success", host + "[[route]]\ndomain = \"*\"\nto = \"error:2.0.0 fine\"", "4 route.to: class 4 or 5"},
		{"a refusal of two lines", host + "[[route]]\ndomain = \"*\"\nto = \"error:5.0.0 a\\rb\"", "4 route.to: control character"},
		{"a port for a name server of 0", host + "[outbound]\nresolver = [\"127.0.0.1:0\"]", "3 outbound.resolver: no name server"},
		{"POP3 expiry in hours", host + "[pop3d]\nexpire = \"5h\"", "3 pop3d.expire"},
		{"a default domain that is not here", host + "[pop3d]\ndefault_domain = \"b.example\"", "3 pop3d.default_domain"},
		// Not built yet.
		{"a rate without a time", host + "[smtpd.rate]\nmessages_per_client = \"100\"", "3 smtpd.rate.messages_per_client: no rate"},
		{"a filter's name that leaves its folder", host + "[filters]\nenabled = [\"../spf\"]", "3 filters.enabled: letters a to z"},
		{"a filter twice", host + "[filters]\nenabled = [\"spf\", \"spf\"]", "3 filters.enabled: twice"},
		{"a score below nothing", host + "[filters]\nscore_reject = -1.0", "3 filters.score_reject: -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, "posthouse.toml", c.text))
			expect(t, err, c.want)
		})
	}
}

func TestTheContractMeansTheSameAsAnEmptyFile(t *testing.T) {
	text, err := os.ReadFile("testdata/contract.toml")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Read(write(t, "posthouse.toml", string(text)))
	if err != nil {
		t.Fatal(err)
	}
	empty, err := Read(write(t, "posthouse.toml", ""))
	if err != nil {
		t.Fatal(err)
	}
	whole.SMTPD.Listen, whole.POP3D.Listen = nil, nil
	delete(whole.Domains, "example.org")
	whole.POP3D.DefaultDomain = empty.POP3D.DefaultDomain
	normal := cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true }), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".warnings" }, cmp.Ignore()),
		cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())}
	for _, c := range []*Config{whole, empty} {
		v := reflect.ValueOf(c).Elem()
		emptySlicesToNil(v)
	}
	if diff := cmp.Diff(empty, whole, normal); diff != "" {
		t.Errorf("an empty file and the contract differ (-empty +contract):\n%s", diff)
	}
}

// emptySlicesToNil makes "no items" the same, whether a file says so or not.
func emptySlicesToNil(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !f.CanSet():
		case f.Kind() == reflect.Slice && f.Len() == 0:
			f.SetZero()
		case isTable(f.Type()):
			emptySlicesToNil(f)
		}
	}
}

func TestValuesThatFollowFromOthers(t *testing.T) {
	path := write(t, "posthouse.toml", `
hostname = "Mail.Example.ORG"
[tls]
certificate = "DIR/cert"
key = "DIR/key"
[domains."Bücher.example"]
catch_all = "all"
[domains."example.com"]
alias_of = "bücher.example"
[users]
file = "DIR/users"
[smtpd]
max_message_size = "20MB"
trusted_networks = ["192.0.2.7", "2001:db8::/32"]
[[smtpd.listen]]
address = "[::1]:25"
role = "mx"
[[smtpd.listen]]
address = "unix:/run/submit.sock"
role = "local"
max_message_size = "1MB"
[outbound]
resolver = ["192.0.2.53", "[2001:db8::53]:5353"]
smart_host = "smtps:Smtp.Example.NET"
`, "cert", "", "key", "", "users", "")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, ok := c.CatchAllAddress(c.Domain("BÜCHER.example"))
	for _, row := range []struct {
		what      string
		got, want any
	}{
		{"hostname", c.Hostname, "mail.example.org"},
		{"origin", c.Origin, "mail.example.org"},
		{"postmaster", c.PostmasterAddress(), mta.Address{Local: "postmaster", Domain: "mail.example.org"}},
		{"local domains", c.LocalDomains(), []string{"example.com", "mail.example.org", "xn--bcher-kva.example"}},
		{"the host's domain is implicit", c.Domains["mail.example.org"].Implicit, true},
		{"U-label", c.Domains["xn--bcher-kva.example"].Unicode, "bücher.example"},
		{"the domain behind an alias", c.Domain("EXAMPLE.com").Name, "xn--bcher-kva.example"},
		{"no domain of ours", c.Domain("example.net"), (*Domain)(nil)},
		{"a subdomain of ours", c.IsLocal("x.example.com"), false},
		{"catch_all", all, mta.Address{Local: "all", Domain: "xn--bcher-kva.example"}},
		{"catch_all is set", ok, true},
		{"default domain", c.POP3D.DefaultDomain, "xn--bcher-kva.example"},
		{"TLS of a listener", c.SMTPD.Listen[0].TLS, "starttls"},
		{"TLS of the local socket", c.SMTPD.Listen[1].TLS, "none"},
		{"size of a listener", c.SMTPD.Listen[0].MaxMessageSize, 20 * MB},
		{"own size of a listener", c.SMTPD.Listen[1].MaxMessageSize, MB},
		{"a network of one", c.SMTPD.TrustedNetworks[0].String(), "192.0.2.7/32"},
		{"a name server", c.Outbound.Resolver[0].String(), "192.0.2.53:53"},
		{"HELO", c.Outbound.Helo, "mail.example.org"},
		{"smart host", c.Outbound.SmartHost, Target{Kind: ToSMTPS, Host: "smtp.example.net", Port: 465}},
		{"a default", c.Queue.Lifetime, 5 * 24 * time.Hour},
		{"a default of a list", c.SMTPD.TrustedUsers, []string{"root"}},
		{"warnings", len(c.Warnings()), 0},
	} {
		if diff := cmp.Diff(row.want, row.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.what, diff)
		}
	}
}

func TestTheHostsNameIsTheMachines(t *testing.T) {
	want := machineName()
	c, err := Read(write(t, "posthouse.toml", ""))
	if want == "" {
		expect(t, err, "hostname: not set")
		return
	}
	if err != nil || c.Hostname != want || c.Origin != want {
		t.Errorf("got %+v, %v; want the hostname %s", c, err, want)
	}
}

func TestDistanceOfKeys(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"key", "key", 0}, {"", "key", 3}, {"key", "", 3}, {"ey", "key", 1}, {"xxkey", "key", 2}, {"kye", "key", 2},
		{"delimeter", "delimiter", 1}, {"kitten", "sitting", 3}, {strings.Repeat("a", 65), strings.Repeat("a", 65), 64},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	c, err := Read(write(t, "posthouse.toml", `hostname = "box"
[mailboxes]
system_accounts = "nss"
[domains."a.example"]
mailboxes = "system"
[domains."b.example"]
mailboxes = "relay"
recipients = "any"
[domains."c.example"]
[[route]]
domain = "b.example"
to = "smtp:far.example"
[[route]]
domain = "c.example"
to = "smtp:far.example"
[smtpd]
trusted_networks = ["127.0.0.0/8"]
[[smtpd.listen]]
address = ":465"
role = "submission"
tls = "implicit"
[[smtpd.listen]]
address = ":587"
role = "submission"
`))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(c.Warnings(), "\n")
	for _, part := range []string{"hostname box has no domain", "who is not in /etc/shadow gets mail and cannot log in", "b.example takes all recipients", "the route for c.example", "127.0.0.0/8", "no tls.certificate", ":465 stays closed", ":587 has role submission and no TLS"} {
		if !strings.Contains(text, part) {
			t.Errorf("got warnings\n%s\nwant one with %q", text, part)
		}
	}
	if strings.Contains(text, "the route for b.example") {
		t.Errorf("got warnings\n%s\nwant none of the route for a relay domain", text)
	}
}
