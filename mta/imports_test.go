package mta_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/posthouse-mail/posthouse/"

// floors is the order of the packages: each imports lower floors alone, and on its own floor nothing. A package that
// is not here may not exist. The reason says what the package's place protects.
var floors = []struct {
	path   string
	floor  int
	reason string
}{
	{"mta", 0, "the nouns: all may speak of them, so they depend on nothing"},
	{"mta/durable", 0, "a test puts a simulated disk under whatever uses it"},
	{"mta/dot", 0, "bytes in, bytes out: both wire protocols need it"},
	{"mta/conffile", 0, "one way to open what a configuration names; knows no configuration"},
	{"mta/shellsafe", 0, "one rule for what strangers choose in a program's environment, whoever starts it"},
	{"mta/maillog", 1, "events are in terms of nouns; all above it may log"},
	{"mta/config", 1, "values only: those who take parts of it know no files"},
	{"mta/redis", 0, "asks a server for whoever shares something; knows not what"},
	{"mta/dns", 1, "a resolver; it does not log, its caller knows what an answer means"},
	{"mta/smtp", 1, "the grammar of the wire, for server and client"},
	{"mta/message", 1, "header and body as bytes"},
	{"mta/verify", 1, "what is remembered of next hosts' answers; knows no protocol"},
	{"mta/asuser", 1, "the client's side of one protocol"},
	{"mta/confine", 1, "what a process gives up; knows no mailbox"},
	{"mta/accounts", 1, "the users of the machine; whoever starts something as one, or takes mail for one, asks here"},
	{"mta/checkpassword", 1, "a program asked about a password; as-user asks it for accounts, a directory for its users"},
	{"mta/tlsconf", 2, "the only TLS policy"},
	{"mta/maildir", 2, "one mailbox on disk"},
	{"mta/directory", 2, "who exists; knows no mailbox and no protocol"},
	{"mta/layout", 2, "whose each folder is; sysusers, tmpfiles and the operator's command are held to it"},
	{"mta/sasl", 2, "declares the lookup that it needs, so it knows no directory"},
	{"mta/guard", 2, "counts and delays; knows no protocol"},
	{"mta/sign", 2, "for the dkim filter and for what the queue makes itself"},
	{"mta/dmarc", 2, "policies and reports; knows no filter, so posthouse can show them without gRPC"},
	{"mta/spf", 2, "who may send for a domain; knows no filter, so posthouse can ask it without gRPC"},
	{"mta/spool", 2, "the state machine on disk; knows neither what comes in nor what goes out"},
	{"mta/dane", 2, "TLSA records against a certificate; dials nothing"},
	{"mta/mtasts", 2, "policies and their files; knows no SMTP, cmd gives it a dialer"},
	{"mta/tlsrpt", 2, "counts what others tell it; reports leave through functions that cmd gives it"},
	{"mta/smtpc", 2, "the client's conversation; knows no MX and no policy"},
	{"mta/recode", 2, "a message in another form; knows no server"},
	{"mta/acme", 2, "certificates from an authority; knows no daemon, they see the files"},
	{"mta/userdb", 3, "opens the place of the users that the configuration names; has the drivers of databases"},
	{"mta/route", 3, "an address to a decision, without doing any of it"},
	{"mta/local", 3, "one message into one mailbox"},
	{"mta/remote", 3, "one transaction with one destination"},
	{"mta/bounce", 3, "a DSN as bytes"},
	{"mta/control", 3, "the socket that operators ask"},
	{"mta/daemon", 3, "what mains have in common"},
	{"mta/smtpd", 4, "the server session; cmd joins it with spool, directory and filters"},
	{"mta/runner", 4, "the schedule; cmd joins it with local and remote"},
	{"pop3d", 4, "the other server; shares no code of the queue"},
	{"mta/mtatest", 4, "for tests alone"},
	{"mta/mtatest/*", 4, "for tests alone"},
	{"filters/proto", 0, "the wire to a filter: an author needs nothing of ours"},
	{"filters", 1, "the promised API: takes nothing from mta"},
	{"filters/host", 3, "our side of the filters"},
	{"filters/example-go", 4, "what an author would write"},
	{"filters/filtertest", 4, "a suite that an author runs"},
	{"filters/daemon", 2, "how the bundled filters that ask another daemon reach it"},
	{"filters/daemon/daemontest", 4, "for tests alone"},
	{"filters/*", 3, "a bundled filter: the SDK, and what of mta any filter could do without"},
	{"cmd/*", 5, "thin mains join what does not know each other"},
	{"contrib/*", 5, "programs around it: demo, bench, lab, packages"},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func ours(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module)
}

// list returns the packages of the module by their path in it, and what of the module each needs, itself included.
func list(t *testing.T) (map[string]pkg, map[string][]string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all, own := map[string]pkg{}, map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if path, ok := ours(p.ImportPath); ok {
			all[path] = p
		}
	}
	for path, p := range all {
		own[path] = []string{path}
		for _, dep := range p.Deps {
			if d, ok := ours(dep); ok {
				own[path] = append(own[path], d)
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("go list found no package of the module")
	}
	return all, own
}

func floor(path string) (int, bool) {
	for _, row := range floors {
		prefix, tree := strings.CutSuffix(row.path, "*")
		if row.path == path || tree && strings.HasPrefix(path, prefix) {
			return row.floor, true
		}
	}
	return 0, false
}

func TestPackagesImportLowerFloorsAlone(t *testing.T) {
	all, _ := list(t)
	for path, p := range all {
		at, known := floor(path)
		if !known {
			t.Errorf("package %s has no floor: give it a row with a reason", path)
			continue
		}
		for _, imp := range p.Imports {
			to, mine := ours(imp)
			if !mine {
				continue
			}
			if f, ok := floor(to); ok && f >= at {
				t.Errorf("%s (floor %d) imports %s (floor %d): want lower floors alone; declare a small interface, cmd joins the two", path, at, to, f)
			}
			if strings.HasPrefix(to, "mta/mtatest") && !strings.HasPrefix(path, "contrib/") {
				t.Errorf("%s imports %s outside its tests", path, to)
			}
			if to == "mta/daemon" && !strings.HasPrefix(path, "cmd/") {
				t.Errorf("%s imports mta/daemon: want the mains of cmd alone", path)
			}
		}
	}
}

// TestPackagesThatMayNotMeet holds what a package may not import, counted through our own packages.
func TestPackagesThatMayNotMeet(t *testing.T) {
	all, own := list(t)
	const filters = "filters/..."
	for _, row := range []struct {
		path      string
		forbidden []string
		reason    string
	}{
		{"mta", []string{"net", "crypto/tls"}, "nouns have no connection"},
		{"mta/durable", []string{"net", "crypto/tls"}, "a disk has no connection"},
		{"mta/spool", []string{"net", "crypto/tls"}, "what is queued must not wait for a network"},
		{"mta/maildir", []string{"net", "crypto/tls"}, "deliveries run where no network is"},
		{"mta/local", []string{"net", "crypto/tls"}, "deliveries run where no network is"},
		{"pop3d", []string{module + "mta/spool", module + "mta/runner", module + "mta/local", module + "mta/remote", module + "mta/route", module + "mta/bounce",
			module + "mta/control", module + "mta/smtp", module + "mta/smtpc", module + "mta/smtpd", filters}, "a POP3 server that is broken into reaches no queue"},
		{"mta/smtpd", []string{filters}, "it declares the filter interface, so it runs without gRPC"},
		{"mta/remote", []string{module + "mta/directory", module + "mta/maildir"}, "it goes out, and knows nobody here"},
		{"mta/runner", []string{module + "mta/smtpc", module + "mta/remote", "crypto/tls"}, "a schedule knows no protocol"},
		{"filters", []string{module + "mta/..."}, "the SDK is for others, who have no mta"},
		{"filters/proto", []string{module + "mta/..."}, "the SDK is for others, who have no mta"},
	} {
		for _, through := range own[row.path] {
			for _, imp := range all[through].Imports {
				if slices.ContainsFunc(row.forbidden, func(f string) bool { return matches(f, imp) }) {
					t.Errorf("%s imports %s through %s: %s", row.path, imp, through, row.reason)
				}
			}
		}
	}
}

func matches(pattern, imp string) bool {
	pattern = strings.Replace(pattern, "filters/...", module+"filters/...", 1)
	tree, ok := strings.CutSuffix(pattern, "/...")
	return imp == pattern || ok && (imp == tree || strings.HasPrefix(imp, tree+"/"))
}

func TestTheNounsNeedTheStandardLibraryAlone(t *testing.T) {
	all, _ := list(t)
	for _, imp := range all["mta"].Imports {
		if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") {
			t.Errorf("mta imports %s, want the standard library alone", imp)
		}
	}
}

func TestPOP3ServerImportsItsListAlone(t *testing.T) {
	all, _ := list(t)
	may := []string{"mta", "mta/config", "mta/dot", "mta/tlsconf", "mta/directory", "mta/sasl", "mta/guard", "mta/maildir", "mta/asuser", "mta/maillog"}
	for _, imp := range all["pop3d"].Imports {
		if to, mine := ours(imp); mine && !slices.Contains(may, to) {
			t.Errorf("pop3d imports %s, want only %s", to, strings.Join(may, ", "))
		}
	}
}

func TestOnlySMTPDAndTheFiltersLinkGRPC(t *testing.T) {
	all, _ := list(t)
	for path, p := range all {
		if !strings.HasPrefix(path, "cmd/") || path == "cmd/smtpd" || path == "cmd/filter" {
			continue
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "google.golang.org/grpc") {
				t.Errorf("%s links %s", path, dep)
			}
		}
	}
}
