package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// world is two hosts, the names that both look up, and the port on which all of it takes mail.
type world struct {
	zone        *mtatest.Zone
	port        int
	here, there *instance
}

// addresses of the hosts, and of others that a test plays.
const (
	hereIP  = "127.0.0.2"
	thereIP = "127.0.0.3"
	deadIP  = "127.0.0.4"
	sinkIP  = "127.0.0.5"
	hungIP  = "127.0.0.6"
)

// newWorld starts it; each host has its own configuration beside the names.
func newWorld(t *testing.T, here, there options) *world {
	t.Helper()
	w := &world{zone: newZone(t), port: freePort(t, hereIP, thereIP, deadIP, sinkIP, hungIP)}
	here.ip, here.domain = hereIP, "here.test"
	there.ip, there.domain = thereIP, "there.test"
	w.here, w.there = w.start(t, here), w.start(t, there)
	return w
}

func newZone(t *testing.T) *mtatest.Zone {
	return mtatest.NewZone(t,
		"here.test. 300 IN MX 10 mx.here.test.", "mx.here.test. 300 IN A "+hereIP,
		"there.test. 300 IN MX 10 mx.there.test.", "mx.there.test. 300 IN A "+thereIP,
		"dead.test. 300 IN A "+deadIP, "sink.test. 300 IN A "+sinkIP, "hung.test. 300 IN A "+hungIP,
		"null.test. 300 IN MX 0 .",
	)
}

func (w *world) start(t *testing.T, o options) *instance {
	t.Helper()
	o.port = w.port
	o.more += fmt.Sprintf("\n[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n[outbound]\nresolver = [%q]\nport = %d\n", w.zone.Addr(), w.port)
	return start(t, o)
}

// name adds records to the zone.
func (w *world) name(t *testing.T, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := w.zone.Add(r); err != nil {
			t.Fatal(err)
		}
	}
}

// report is what Python's email package makes of a DSN.
type report struct {
	Type, Report, From, To, Subject, Auto string
	Parts                                 []string
	Status                                []map[string]string
	Text, Header                          string
	Defects                               int
}

const parseReport = `
import sys, json, email, email.policy
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
parts = list(m.iter_parts())
status = [{k.lower(): str(v) for k, v in block.items()} for block in parts[1].get_payload()]
defects = sum(len(p.defects) for p in m.walk())
print(json.dumps(dict(Type=m.get_content_type(), Report=str(m.get_param("report-type")), From=m["from"], To=m["to"], Subject=m["subject"],
    Auto=m["auto-submitted"], Parts=[p.get_content_type() for p in parts], Status=status, Text=parts[0].get_content(),
    Header=str(parts[2].get_payload(decode=True), "utf-8"), Defects=defects)))
`

func parse(t *testing.T, message []byte) report {
	t.Helper()
	cmd := exec.Command(mtatest.Need(t, "python3"), "-c", parseReport)
	cmd.Stdin = strings.NewReader(string(message))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Python cannot read the report: %v\n%s", err, message)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// wantReport holds a DSN about one recipient against what it must say.
func wantReport(t *testing.T, message []byte, from *instance, to, rcpt, status, code string) {
	t.Helper()
	r := parse(t, message)
	if r.Type != "multipart/report" || r.Report != "delivery-status" || r.Defects != 0 {
		t.Errorf("got %s, report-type %s, %d defects; want a multipart/report of delivery-status without any", r.Type, r.Report, r.Defects)
	}
	if got := strings.Join(r.Parts, " "); got != "text/plain message/delivery-status text/rfc822-headers" {
		t.Errorf("got parts %s, want text, status and header", got)
	}
	if !strings.Contains(r.From, "MAILER-DAEMON@mx."+from.domain) || !strings.Contains(r.To, to) || r.Auto != "auto-replied" {
		t.Errorf("got From %q, To %q, Auto-Submitted %q", r.From, r.To, r.Auto)
	}
	if len(r.Status) != 2 {
		t.Fatalf("got %d groups of fields, want one for the message and one for its recipient: %v", len(r.Status), r.Status)
	}
	if got, want := r.Status[0]["reporting-mta"], "dns; mx."+from.domain; got != want {
		t.Errorf("Reporting-MTA: got %q, want %q", got, want)
	}
	for field, want := range map[string]string{"final-recipient": "rfc822; " + rcpt, "action": "failed", "status": status} {
		if got := r.Status[1][field]; got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	if got := r.Status[1]["diagnostic-code"]; !strings.HasPrefix(got, code) {
		t.Errorf("Diagnostic-Code: got %q, want %s", got, code)
	}
	if !strings.Contains(r.Text, rcpt) || !strings.Contains(r.Header, "Subject: to nobody") {
		t.Errorf("got text %q and header %q, want the recipient and the subject in them", r.Text, r.Header)
	}
}

func TestTwoHostsExchangeMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{users: []string{"alice", "amy"}}, options{users: []string{"bob", "ben"}})

	for _, d := range []struct {
		from, to *instance
		sender   string
		rcpts    []string
	}{{w.here, w.there, "alice", []string{"bob", "ben"}}, {w.there, w.here, "ben", []string{"amy"}}} {
		text := "Subject: over\r\nFrom: " + d.from.address(d.sender) + "\r\n\r\n.\r\n..\r\nGr\xfc\xdfe\r\n"
		var to []string
		for _, r := range d.rcpts {
			to = append(to, d.to.address(r))
		}
		id, _, err := d.from.submit(t, d.sender).send([]byte(text), d.from.address(d.sender), to...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range to {
			line := d.from.queue.Await(t, "event=delivered id="+id+" to=<"+r+">.*")[0]
			if want := fmt.Sprintf("by=mx.%s address=%s", d.to.domain, d.to.mx); !strings.Contains(line, want) || !strings.Contains(line, "tls=") {
				t.Errorf("got %s, want %s over TLS", line, want)
			}
		}
		other := d.to.smtpd.Await(t, "event=accepted .*id=(\\w+) from=<"+d.from.address(d.sender)+">")[1]
		for _, r := range d.rcpts {
			d.to.delivered(other, r) // all of them by one transaction
			head, rest := trace(t, d.to.one(t, r))
			hops := 1 + strings.Count(string(rest[:len(rest)-len(text)]), "Received: ")
			if !strings.HasSuffix(string(rest), text) || hops != 2 {
				t.Errorf("%s: got %q with %d Received fields, want %q with 2", r, rest, hops, text)
			}
			if want := "Return-Path: <" + d.from.address(d.sender) + ">\r\n"; !strings.HasPrefix(string(head), want) {
				t.Errorf("%s: got %q, want %q", r, head, want)
			}
		}
	}

	t.Run("unknown user there", func(t *testing.T) {
		id, _, err := w.here.submit(t, "alice").send([]byte("Subject: to nobody\r\n\r\nsecret\r\n"), "alice@here.test", "nobody@there.test", "bob@there.test")
		if err != nil {
			t.Fatal(err)
		}
		w.here.queue.Await(t, "event=failed id="+id+" to=<nobody@there.test>.*550 5.1.1")
		w.here.queue.Await(t, "event=delivered id="+id+" to=<bob@there.test>")
		dsn := w.here.queue.Await(t, `event=reported id=(\w+) parent=`+id+` to=<alice@here.test>`)[1]
		w.here.delivered(dsn, "alice")
		m := w.here.one(t, "alice")
		wantReport(t, m, w.here, "alice@here.test", "nobody@there.test", "5.1.1", "smtp; 550 5.1.1")
		if !strings.HasPrefix(string(m), "Return-Path: <>\r\n") || strings.Contains(string(m), "secret") {
			t.Errorf("got %q, want a null sender, and no body of the message", m)
		}
		if got := parse(t, m).Status[1]["remote-mta"]; got != "dns; mx.there.test" {
			t.Errorf("Remote-MTA: got %q", got)
		}
	})
	t.Run("domain that takes no mail", func(t *testing.T) {
		for domain, want := range map[string][2]string{"null.test": {"5.1.10", "556"}, "gone.test": {"5.1.2", "550"}} {
			id, _, err := w.here.submit(t, "amy").send([]byte("Subject: to nobody\r\n\r\nx\r\n"), "amy@here.test", "x@"+domain)
			if err != nil {
				t.Fatal(err)
			}
			dsn := w.here.queue.Await(t, `event=reported id=(\w+) parent=`+id)[1]
			w.here.delivered(dsn, "amy")
			wantReport(t, w.here.one(t, "amy"), w.here, "amy@here.test", "x@"+domain, want[0], "x-posthouse; "+want[1]) // nobody has said it over SMTP
		}
	})
	for _, i := range []*instance{w.here, w.there} {
		i.stop()
		i.wantSound()
	}
}

func TestAliasesCatchAllAndDelimiterAcrossHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{users: []string{"alice", "amy", "rest"}, inside: `catch_all = "rest"`}, options{users: []string{"bob", "bob.lists"}})
	aliases := w.here.dir + "/aliases"
	mtatest.Write(t, aliases, "team: alice, inner, bob@there.test, ben+x@there.test\ninner: amy, alice\nround: trip\ntrip: round, alice\n")
	mtatest.Write(t, w.here.conf, strings.Replace(w.here.text, `catch_all = "rest"`, fmt.Sprintf("catch_all = \"rest\"\naliases = %q", aliases), 1))
	mtatest.Write(t, w.there.dir+"/aliases", "ben: bob+lists@there.test\n")
	mtatest.Write(t, w.there.conf, strings.Replace(w.there.text, "[domains.\"there.test\"]\n", fmt.Sprintf("[domains.\"there.test\"]\naliases = %q\n", w.there.dir+"/aliases"), 1))
	for _, d := range []*mtatest.Program{w.here.smtpd, w.here.queue, w.there.smtpd, w.there.queue} {
		d.Signal(t, sighup)
		d.Await(t, "event=reloaded")
	}

	id := w.here.deposit(t, "Subject: x\r\n\r\nto the team\r\n", "team")
	expanded := w.here.queue.Await(t, `event=expanded id=`+id+` to=<team@here.test> members=2 forwarded=2 child=(\w+)`)
	for _, u := range []string{"alice", "amy"} {
		w.here.delivered(id, u)
		if m := w.here.one(t, u); !strings.HasSuffix(string(m), "\r\n\r\nto the team\r\n") {
			t.Errorf("%s: got %q", u, m)
		}
	}
	w.here.queue.Await(t, "event=delivered id="+expanded[1]+" to=<bob@there.test> by=mx.there.test")
	w.here.queue.Await(t, `event=delivered id=`+expanded[1]+` to=<ben\+x@there.test> by=mx.there.test`)
	w.there.queue.Await(t, `event=delivered id=\w+ to=<ben\+x@there.test> by=local`)
	w.there.queue.Await(t, `event=delivered id=\w+ to=<bob@there.test> by=local`)
	if all := w.there.fetchAll(t, "bob"); len(all) != 2 {
		t.Errorf("bob: got %d messages, want his own and ben's", len(all))
	}

	id = w.here.deposit(t, "Subject: x\r\n\r\nin a circle\r\n", "round")
	w.here.queue.Await(t, `event=deferred id=`+id+` to=<round@here.test> reply="451 4.3.5.*alias loop`)
	mtatest.Write(t, aliases, "round: trip\ntrip: alice\n")
	w.here.delivered(id, "round")
	w.here.one(t, "alice")

	id = w.here.deposit(t, "Subject: x\r\n\r\nto whom it may concern\r\n", "whoever", "amy+tag", "rest")
	for _, u := range []string{"rest", "amy"} {
		w.here.queue.Await(t, `event=delivered id=`+id+` to=<`+u+`[^>]*@here.test> by=local`)
	}
	w.here.queue.Await(t, "event=finished id="+id)
	w.here.one(t, "amy")
	if n := len(w.here.fetchAll(t, "rest")); n < 1 || n > 2 {
		t.Errorf("rest: got %d messages, want one or two", n)
	}
	list := w.there.mailbox("bob") + "/.lists"
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(list, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	id = w.there.deposit(t, "Subject: x\r\n\r\n", "bob+lists", "bob+others")
	w.there.queue.Await(t, "event=finished id="+id)
	w.there.one(t, "bob")
	if all, err := filepath.Glob(list + "/new/*"); err != nil || len(all) != 1 {
		t.Errorf("bob's folder lists: got %v, %v; want one message", all, err)
	}
	if _, _, err := w.there.connect(t).send([]byte("x\r\n"), "x@away.test", "whoever@there.test"); err == nil || !strings.Contains(err.Error(), `"550 5.1.1`) {
		t.Errorf("a domain without catch_all: got %v, want 550 5.1.1", err)
	}
	for _, i := range []*instance{w.here, w.there} {
		i.stop()
		i.wantSound()
	}
}
