package smtpd_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// around returns every sequence of up to n of CR, LF and NUL.
func around(n int) []string {
	all := []string{""}
	for from := 0; n > 0; n-- {
		to := len(all)
		for _, s := range all[from:to] {
			all = append(all, s+"\r", s+"\n", s+"\x00")
		}
		from = to
	}
	return all
}

// smuggled is what an attacker wants to be read as commands.
const smuggled = "MAIL FROM:<evil@away.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"

// TestNothingButCRLFDotCRLFEndsTheData sends a dot with every combination of line ends and NUL round it, and commands
// behind it. Only where the octets of RFC 5321 4.1.1.4 stand there these may be commands.
func TestNothingButCRLFDotCRLFEndsTheData(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*smtpd.Options)
		repair string // line ends that are no fault
	}{
		{"reject", func(*smtpd.Options) {}, ""},
		{"normalize", func(o *smtpd.Options) { o.RepairLF = true }, "\n"},
		{"local socket", nil, "\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, log := &queue{}, &lines{}
			o := options(q, log)
			o.Log, o.MaxErrors, o.Senders = maillog.New(nil), 100, nil
			l := smtpd.Listener{}
			var dial func() net.Conn
			if c.change != nil {
				c.change(&o)
				ln := &pipes{conns: make(chan net.Conn)}
				l.Listener, dial = ln, ln.dial
			} else {
				ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
				if err != nil {
					t.Fatal(err)
				}
				l = smtpd.Listener{Listener: ln, Role: mta.RoleLocal, TLS: smtpd.NoTLS}
				dial = func() net.Conn {
					nc, err := net.Dial("unix", ln.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					return nc
				}
			}
			serve(t, o, l, log)
			cases := 0
			for _, before := range around(3) {
				for _, behind := range around(3) {
					cases++
					dotted(t, dial(), q, "a"+before+"."+behind, c.repair)
					if t.Failed() {
						return
					}
				}
			}
			if cases != 1600 {
				t.Errorf("got %d cases, want 1600", cases)
			}
		})
	}
}

// dotted sends one content with the commands behind it and checks what was taken for what.
func dotted(t *testing.T, nc net.Conn, q *queue, content, repair string) {
	t.Helper()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
	before := len(q.all())
	said := make(chan string, 1)
	go func() { b, _ := io.ReadAll(nc); said <- string(b) }()
	if _, err := io.WriteString(nc, "HELO c\r\nMAIL FROM:<a@away.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n"+content+smuggled); err != nil {
		t.Fatal(err)
	}
	replies := <-said
	var codes []string
	for line := range strings.Lines(replies) {
		codes = append(codes, line[:3])
	}
	evil := 0
	for _, m := range q.all()[before:] {
		if m.envelope.Sender.Local == "evil" {
			evil++
		}
	}
	if strings.Contains("\r\n"+content+smuggled[:1], "\r\n.\r\n") {
		return // that is the end: what follows are commands, or nonsense
	}
	faults := strings.NewReplacer("\r\n", "").Replace(content)
	if strings.Contains(repair, "\n") {
		faults = strings.ReplaceAll(faults, "\n", "")
	}
	if strings.Contains(repair, "\r") {
		faults = strings.ReplaceAll(faults, "\r", "")
	}
	want := "250"
	if strings.ContainsAny(faults, "\r\n\x00") {
		want = "550"
	}
	if got := strings.Join(codes, " "); evil > 0 || got != "220 250 250 250 354 "+want+" 221" {
		t.Errorf("content %q: got replies %s and %d smuggled messages, want %s for the content and none", content, got, evil, want)
	}
}
