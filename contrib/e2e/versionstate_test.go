package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// What others make on the network of a name server, port 443 or a day's end, the programs' packages make here with the clock
// of the data: policies of MTA-STS, counters of TLS sessions, and findings about DMARC.

const stsDomain = "sts.test"

// stsRecord answers for the domain, or fails where it is empty.
type stsRecord string

func (r stsRecord) TXT(context.Context, string) ([]string, error) {
	if r == "" {
		return nil, errors.New("no name server")
	}
	return []string{string(r)}, nil
}

// versionState are the three at a time.
type versionState struct {
	sts   *mtasts.Cache
	tls   *tlsrpt.Recorder
	dmarc string // folder
	log   *bytes.Buffer
}

func (i *instance) openState(t *testing.T, now time.Time, record stsRecord, dial func(context.Context, string, string) (net.Conn, error), certs *mtatest.Certs) *versionState {
	t.Helper()
	s := &versionState{dmarc: filepath.Join(i.dir, "state/filters/dmarc"), log: &bytes.Buffer{}}
	clock := func() time.Time { return now }
	log := maillog.New(maillog.NewText(s.log, slog.LevelDebug))
	var err, terr error
	s.sts, err = mtasts.Open(mtasts.Options{Dir: filepath.Join(i.dir, "state/queue/mta-sts"), Resolver: record,
		TLS: certs.Client("mta-sts." + stsDomain), Dial: dial, Log: log, Now: clock})
	s.tls, terr = tlsrpt.Open(tlsrpt.Options{Settings: tlsrpt.Settings{Reports: true, Hostname: "mx.here.test"}, Dir: filepath.Join(i.dir, "state/queue/tls"),
		Resolver: record, TLS: certs.Client("x"), Dial: dial, Log: log, Now: clock})
	if err := errors.Join(err, terr, os.MkdirAll(s.dmarc, 0o700)); err != nil {
		t.Fatal(err)
	}
	return s
}

var toHost = tlsrpt.Session{Domain: stsDomain, Host: "mx.sts.test", Level: tlsrpt.Authenticated, Usable: true,
	Results: []tlsrpt.Result{{Policy: tlsrpt.Policy{Type: tlsrpt.PolicySTS, Domain: stsDomain}}}}

// writeState makes them, while no daemon runs.
func (f *filling) writeState() {
	f.t.Helper()
	certs := mtatest.NewCerts(f.t, "mta-sts."+stsDomain)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "version: STSv1\r\nmode: enforce\r\nmx: mx.sts.test\r\nmax_age: 31557600\r\n")
	}), TLSConfig: certs.Server()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = server.ServeTLS(l, "", "") }() // ends with the test
	f.t.Cleanup(func() { _ = server.Close() })
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}
	s := f.openState(f.t, f.n.Made, "v=STSv1; id=1", dial, certs)
	if p, err := s.sts.Get(f.t.Context(), stsDomain); err != nil || p == nil {
		f.t.Fatalf("MTA-STS: got %v, %v\n%s", p, err, s.log)
	}
	s.tls.Session(toHost)
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	c := dmarc.NewCollector(s.dmarc, func() time.Time { return f.n.Made })
	row := dmarc.Row{Domain: "source.test", Source: "192.0.2.9", Disposition: "none", SPF: true, HeaderFrom: "source.test", Published: dmarc.Published{P: "none"}}
	if err := errors.Join(s.tls.Run(ctx), c.Add(row), c.Add(row), c.Flush()); err != nil {
		f.t.Fatal(err)
	}
	f.n.State = true
}

// stateHolds reads them, as they were then.
func (i *instance) stateHolds(t *testing.T, n versionNote) {
	t.Helper()
	if !n.State {
		return
	}
	s := i.openState(t, n.Made.Add(time.Hour), "", func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }, i.certs)
	if p, err := s.sts.Get(t.Context(), stsDomain); err != nil || p == nil || p.Mode != mtasts.Enforce || !p.Allows("mx.sts.test") || p.Allows("mx.other.test") {
		t.Errorf("MTA-STS: got %+v, %v; want the policy that was fetched", p, err)
	}
	worse := toHost
	worse.Level = tlsrpt.Clear
	s.tls.Session(worse)
	if !strings.Contains(s.log.String(), "event=tls-downgraded") || strings.Contains(s.log.String(), "error") {
		t.Errorf("TLS sessions: got the log\n%s\nwant that the host was better before", s.log)
	}
	day := n.Made.UTC().Format(time.DateOnly)
	if b := readFile(t, filepath.Join(i.dir, "state/queue/tls", day+".json")); !strings.Contains(b, `"`+stsDomain+`"`) {
		t.Errorf("the counters of TLS sessions: got %s", b)
	}
	status, out := i.posthouse("", "dmarc", "report", "--config", i.conf, "--day", day)
	if status != 0 || !strings.Contains(out, "source.test") || !strings.Contains(out, "192.0.2.9") {
		t.Errorf("dmarc report: status %d\n%s", status, out)
	}
}

// Mailboxes that another server had: the UIDLs that it showed are what programs know.
var formerLists = map[string]struct{ format, file, list, uidl string }{
	"carol": {"dovecot", "dovecot-uidlist", "3 V1700000000 N8 G0123\n7 :1700000001.M1P2.old.test\n", "000000076553f100"},
	"dave":  {"courier", "courierpop3dsizelist", "/2 9 1700000000\n1700000001.M1P2.old.test 30 8:1700000000\n", "UID8-1700000000"},
}

// formerServers leaves the mailboxes of other servers. Dave's has been opened since, so that there is a list of our own.
func (f *filling) formerServers() {
	f.t.Helper()
	f.n.Seen = map[string][]string{}
	for local, l := range formerLists {
		box := f.mailbox(local)
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(box, sub), 0o700); err != nil {
				f.t.Fatal(err)
			}
		}
		mtatest.Write(f.t, filepath.Join(box, "cur", "1700000001.M1P2.old.test:2,S"), strings.ReplaceAll(f.box(local, "of a former server"), "\r\n", "\n"))
		mtatest.Write(f.t, filepath.Join(box, l.file), l.list)
		f.n.Seen[local] = []string{l.uidl}
	}
	mtatest.Write(f.t, f.conf, strings.Replace(f.text, `uidl = "dovecot"`, `uidl = "courier"`, 1))
	f.pop3d = f.launch("pop3d")
	f.pop3d.Await(f.t, "event=ready")
	if got := f.shownUIDLs(f.t, "dave"); !slices.Equal(got, f.n.Seen["dave"]) {
		f.t.Fatalf("of Courier: got %q, want %q", got, f.n.Seen["dave"])
	}
	f.pop3d.Terminate(f.t)
	mtatest.Write(f.t, f.conf, f.text)
}

// shownUIDLs are what UIDL shows a user; the session ends well.
func (i *instance) shownUIDLs(t *testing.T, local string) []string {
	t.Helper()
	c := i.login(t, local)
	all, err := c.list("UIDL")
	if err == nil {
		_, err = c.cmd("QUIT")
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}
