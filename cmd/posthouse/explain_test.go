package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// smtpdThatSays answers on smtpd's control socket.
func smtpdThatSays(t *testing.T, conf, text string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(conf), "run/smtpd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
}

func explainJSON(t *testing.T, conf string, args ...string) (x explanation, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = execute(t.Context(), append([]string{"explain", "--json", "-c", conf}, args...), strings.NewReader(""), &out, &errOut)
	if err := json.Unmarshal(out.Bytes(), &x); err != nil {
		t.Fatalf("%q: %v: %s%s", args, err, &out, &errOut)
	}
	return x, code
}

func TestExplainKnowsFiltersByRole(t *testing.T) {
	conf, _, _ := queueOf(t, 0)
	zone := mtatest.NewZone(t)
	appendTo(t, conf, fmt.Sprintf("[filters]\nenabled = [\"spf\", \"dkim\", \"odd\"]\n[outbound]\nresolver = [%q]\n[domains.\"example.org\"]\n[users]\nfile = %q\n"+
		"[[smtpd.listen]]\naddress = \"127.0.0.1:2525\"\nrole = \"mx\"\nmax_message_size = \"1MB\"\n[[smtpd.listen]]\naddress = \"127.0.0.1:2526\"\nrole = \"mx\"\nmax_message_size = \"3MB\"\n",
		zone.Addr(), usersFile(t, "alice@example.org {PLAIN}x\n")))
	if x, code := explainJSON(t, conf, "alice@example.org"); code != 0 || fmt.Sprint(x.Filters) != "[{spf  []} {dkim  []} {odd  []}]" || len(x.Notes) != 1 || !strings.HasPrefix(x.Notes[0], "smtpd does not say which filters it asks") {
		t.Errorf("without smtpd: got %d, %v, %q; want the configuration's filters, and a note", code, x.Filters, x.Notes)
	}
	smtpdThatSays(t, conf, `{"filters":[{"name":"spf","state":"running","roles":["mx"],"stages":{"message":{},"sender":{},"connect":{}}},
		{"name":"dkim","state":"running","stages":{"message":{}}},{"name":"odd","state":"down","roles":["submission"]}]}`)
	x, code := explainJSON(t, conf, "alice@example.org", "--from", "x@far.test")
	if code != 0 || fmt.Sprint(x.Filters) != "[{spf running [connect sender message]} {dkim running [message]}]" || len(x.Notes) != 0 || x.Limits.MessageSize != 3<<20 {
		t.Errorf("a stranger: got %d, %v, %q, size %d", code, x.Filters, x.Notes, x.Limits.MessageSize)
	}
	x, code = explainJSON(t, conf, "alice@example.org", "--from", "Alice@Example.ORG")
	if code != 0 || fmt.Sprint(x.Filters) != "[{dkim running [message]} {odd down []}]" || !slices.Contains(x.Notes, "no listener has the role submission: such mail cannot come in") {
		t.Errorf("a user: got %d, %v, %q", code, x.Filters, x.Notes)
	}
}

func TestExplainBoundsWhatIsLookedUp(t *testing.T) {
	conf, _, _ := queueOf(t, 0)
	zone := mtatest.NewZone(t)
	var forward []string
	for n := range 25 {
		forward = append(forward, fmt.Sprintf("x@d%d.test,y@d%d.test", n, n))
	}
	appendTo(t, conf, fmt.Sprintf("[outbound]\nresolver = [%q]\ndnssec = \"never\"\n[domains.\"example.org\"]\n[users]\nfile = %q\n", zone.Addr(),
		usersFile(t, "list@example.org {PLAIN}x forward="+strings.Join(forward, ",")+"\n")))
	x, code := explainJSON(t, conf, "list@example.org")
	if code != 68 || len(x.Destinations) != 25 || len(x.Members) != 50 || len(x.Destinations[0].For) != 2 {
		t.Fatalf("got %d, %d destinations, %d members", code, len(x.Destinations), len(x.Members))
	}
	if x.Destinations[19].Site == "" || x.Destinations[20].Site != "" || !slices.Contains(x.Notes, "5 destinations of 25 were not looked up") ||
		!slices.ContainsFunc(x.Notes, func(s string) bool {
			return strings.HasPrefix(s, "DANE counts for nothing: outbound.dnssec is \"never\"")
		}) {
		t.Errorf("got %q, %q, notes %q", x.Destinations[19].Site, x.Destinations[20].Site, x.Notes)
	}
	if n := len(zone.Queries()); n > 200 {
		t.Errorf("%d questions were asked", n)
	}
}

func TestExplainTellsWhatIsWrongWithTheCommand(t *testing.T) {
	conf, _, _ := queueOf(t, 0)
	bad := filepath.Join(t.TempDir(), "bad.toml")
	writeFile(t, bad, "nonsense = 1\n")
	lost := filepath.Join(t.TempDir(), "lost.toml")
	writeFile(t, lost, "hostname = \"mail.example.org\"\n[domains.\"example.org\"]\n[users]\nfile = \"/nonexistent/users\"\n")
	faulty := filepath.Join(t.TempDir(), "faulty.toml")
	writeFile(t, faulty, fmt.Sprintf("hostname = \"mail.example.org\"\n[domains.\"example.org\"]\n[users]\nfile = %q\n", usersFile(t, "alice\n")))
	for _, c := range []struct {
		args   []string
		code   int
		errOut string
	}{
		{[]string{"a@b.test", "-c", faulty}, 78, "users:1: "},
		{[]string{}, 64, "wrong number of arguments"},
		{[]string{"a@b.test", "c@d.test"}, 64, "wrong number of arguments"},
		{[]string{"<>"}, 64, "the null address is no recipient"},
		{[]string{"nobody"}, 64, "nobody: bad address"},
		{[]string{"a@b.test", "--from=x"}, 64, "x: bad address"},
		{[]string{"a@b.test", "-c", bad}, 78, "nonsense"},
		{[]string{"a@b.test", "-c", lost}, 74, "/nonexistent/users"},
		{[]string{"<Postmaster>", "-c", conf}, 0, ""},
	} {
		var out, errOut bytes.Buffer
		if code := execute(t.Context(), append([]string{"explain"}, c.args...), strings.NewReader(""), &out, &errOut); code != c.code || !strings.Contains(errOut.String(), c.errOut) {
			t.Errorf("%q: got %d, %q; want %d, %q", c.args, code, &errOut, c.code, c.errOut)
		}
	}
}

func usersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	writeFile(t, path, text)
	return path
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(b)+text)
}
