package smtpd_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// TestDialogues holds the conversations in testdata. A script's lines that begin with "#:" set up the server and say how
// many messages are in the queue, and which events in the log, afterwards: "#: role=submission tls=implicit queued=1 log=login".
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	certs, page := mtatest.NewCerts(t, "mx.here.test"), refusals(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			q, log := &queue{}, &lines{}
			o := options(q, log)
			o.TLS = certs.Server
			l := smtpd.Listener{}
			script := readFile(t, file)
			want, events := setUp(t, script, &o, &l)
			addr := serve(t, o, l, log)
			nc := dial(t, addr)
			if l.TLS == smtpd.Implicit {
				nc = tls.Client(nc, certs.Client("mx.here.test"))
			}
			mtatest.Dialogue(t, nc, script, certs.Client("mx.here.test"))
			if n := len(q.all()); n != want {
				t.Errorf("got %d messages in the queue, want %d", n, want)
			}
			for _, e := range events {
				if !strings.Contains(log.String(), "event="+e+" ") {
					t.Errorf("no event %s in the log", e)
				}
			}
			logged(t, page, script, log.String())
			if strings.Contains(log.String(), "secret") {
				t.Error("the log tells a password")
			}
		})
	}
}

func setUp(t *testing.T, script string, o *smtpd.Options, l *smtpd.Listener) (queued int, events []string) {
	t.Helper()
	for line := range strings.Lines(script) {
		sets, ok := strings.CutPrefix(line, "#:")
		if !ok {
			continue
		}
		for set := range strings.FieldsSeq(sets) {
			key, value, _ := strings.Cut(set, "=")
			n, _ := strconv.Atoi(value)
			switch key {
			case "role":
				l.Role = value
			case "tls":
				l.TLS = map[string]smtpd.TLSMode{"implicit": smtpd.Implicit, "none": smtpd.NoTLS}[value]
			case "queued":
				queued = n
			case "log":
				events = append(events, value)
			case "size":
				l.MaxMessageSize = int64(n)
			case "max_errors":
				o.MaxErrors = n
			case "max_line":
				o.MaxLine = n
			case "require_helo":
				o.RequireHelo = true
			case "offer":
				o.RequireTLS, o.DeliverBy, o.Priority, o.FutureRelease = true, true, true, time.Hour
			case "rates":
				rates := guard.NewRates(nil)
				rates.SetLimits(guard.RateLimits{MessagesPerClient: guard.Rate{N: 2, Per: time.Minute},
					MessagesPerLogin: guard.Rate{N: 1, Per: 24 * time.Hour}, RecipientsPerLogin: guard.Rate{N: 2, Per: time.Hour}})
				o.Rates = rates
			case "strict":
				o.RefuseEarly = true
			case "own_domains":
				o.OwnDomains = true
			case "dns":
				o.Resolver, o.SenderDomain = zone{}, true
			case "normalize":
				o.RepairLF = true
			case "trusted":
				o.Trusted = []netip.Prefix{netip.MustParsePrefix(value)}
			case "proxy":
				o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix(value)}
			case "xclient":
				o.XclientFrom = []netip.Prefix{netip.MustParsePrefix(value)}
			case "peer":
				o.Peer = func(net.Conn) (smtpd.Peer, error) { return smtpd.Peer{UID: 1000, Login: value}, nil }
			case "full": // bob has room for 100 octets
				o.Full = func(login mta.Address, octets int64) bool {
					return login.Local == "bob" && octets > 100 || login.Local == "alice"
				}
				o.FullBounces = value == "552"
			case "disk":
				o.Disk = func() error { return fmt.Errorf("disk %s", value) }
			default:
				t.Fatalf("unknown setting %q", set)
			}
		}
	}
	return queued, events
}
