package e2e_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// explain runs `posthouse explain`.
func (i *instance) explain(args ...string) (int, string) {
	i.t.Helper()
	return i.posthouse("", append([]string{"explain", "--config", i.conf}, args...)...)
}

func TestExplainSaysWhatWouldBeDone(t *testing.T) {
	t.Parallel()
	ip := ownIP()
	zone := mtatest.NewZone(t,
		"far.test. 300 IN MX 20 b.far.test.", "far.test. 300 IN MX 10 a.far.test.", "a.far.test. 300 IN A "+ip, "b.far.test. 300 IN A 192.0.2.2",
		"backup.test. 300 IN MX 10 a.far.test.", "backup.test. 300 IN MX 20 mx.here.test.", "backup.test. 300 IN MX 30 c.test.",
		"null.test. 300 IN MX 0 .",
		"dane.test. 300 IN MX 10 mx.dane.test.", "mx.dane.test. 300 IN A 192.0.2.4", "_25._tcp.mx.dane.test. 300 IN TLSA 3 1 1 "+strings.Repeat("ab", 32),
	)
	zone.Sign("dane.test", ".dane.test")
	aliases := filepath.Join(t.TempDir(), "aliases")
	mtatest.Write(t, aliases, "team: alice, carol@far.test, dave@dane.test, erin@gateway.test\nbad: nobody\n")
	i := newInstance(t, options{
		ip: ip, inside: fmt.Sprintf("aliases = %q", aliases),
		more: fmt.Sprintf("[outbound]\nresolver = [%q]\n[[route]]\ndomain = \"gateway.test\"\nto = \"lmtp:unix:/run/gateway\"\n"+
			"[domains.\"asks.test\"]\nmailboxes = \"relay\"\nrecipients = \"verify\"\n[[route]]\ndomain = \"asks.test\"\nto = \"smtp:127.0.0.1:9\"\n"+
			"[[route]]\ndomain = \"closed.test\"\nto = \"error:5.7.1 we do not write to them\"\n", zone.Addr()),
	})
	for _, c := range []struct {
		args   []string
		status int
		want   []string
	}{
		{[]string{"nobody@here.test"}, 67, []string{"accepted    no: 550 5.1.1 no such user here", "posthouse: mail would be returned: 550 5.1.1"}},
		{[]string{"x@closed.test"}, 67, []string{"we do not write to them"}},
		{[]string{"x@null.test"}, 68, []string{"domain null.test takes no mail (null MX)"}},
		{[]string{"x@missing.test"}, 68, []string{"domain missing.test does not exist"}},
		{[]string{"alice+lists@here.test"}, 0, []string{"goes to     the mailbox of alice@here.test at " + i.mail + "/here.test/alice, folder lists", "found as    the user alice@here.test"}},
		{[]string{"x@backup.test"}, 0, []string{"  mx 10     a.far.test " + ip + ":25\n", "  mx 20     mx.here.test\n              not used: it is this host\n", "  mx 30     c.test\n              not used: it is no better than this host\n"}},
		{[]string{"x@dane.test"}, 0, []string{"TLS: a certificate that DANE vouches for, or no delivery\n", "TLSA 3 1 1 abab"}},
		{[]string{"team@here.test"}, 0, []string{
			"goes to     4 members\n", "  member    alice@here.test: the mailbox of alice@here.test", "  member    carol@far.test: far.test, by its MX records\n",
			"  member    erin@gateway.test: lmtp:unix:/run/gateway, by route gateway.test\n", "destination dane.test, for dave@dane.test, by its MX records\n",
			"note        " + i.dir + "/run/queue/control.sock: queue-runner does not answer",
		}},
		{[]string{"x@asks.test"}, 0, []string{"domain      asks.test is ours: relay mailboxes\n", "accepted    from anybody, where the host that it goes to takes the recipient: it is asked\n"}},
		{[]string{"bad@here.test"}, 67, nil},
		{[]string{"x@far.test", "--from", "alice@here.test"}, 0, []string{"from        alice@here.test\n", "limits      role submission: 50MB a message, 1000 recipients, 500/h messages and 2000/h recipients a login\n"}},
		{[]string{"x@far.test", "--from=<>"}, 0, []string{"from        <>\n", "            tried for 2d; tries 5m to 4h apart\n"}},
		{[]string{"not an address"}, 64, []string{"not an address"}},
	} {
		status, out := i.explain(c.args...)
		if status != c.status {
			t.Errorf("%q: got status %d, want %d", c.args, status, c.status)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: got\n%s\nwant %q in it", c.args, out, want)
			}
		}
	}
}

func TestExplainKnowsWhatTheDaemonsKnow(t *testing.T) {
	t.Parallel()
	ip := ownIP()
	zone := mtatest.NewZone(t, "far.test. 300 IN MX 10 mx.far.test.", "mx.far.test. 300 IN A "+ip) // nobody listens there
	i := start(t, options{ip: ip, more: fmt.Sprintf("[outbound]\nresolver = [%q]\nport = %d\n", zone.Addr(), freePort(t, ip))})
	i.wait("Subject: x\r\n\r\nx\r\n", "x@far.test")
	i.queue.Await(t, "event=dead site=")
	status, out := i.explain("other@far.test")
	if want := "  queue     dead, window 0, connections 0, queued 0, waiting "; status != 0 || !strings.Contains(out, want) || strings.Contains(out, "note ") {
		t.Errorf("got status %d\n%s\nwant %q and no note", status, out, want)
	}
	var x struct {
		Role, Decision, Destination string
		Destinations                []struct {
			Site  string
			Hosts []struct{ Name, TLS string }
			Queue struct{ Reason string }
		}
	}
	if status, out = i.explain("other@far.test", "--json"); status != 0 || json.Unmarshal([]byte(out), &x) != nil {
		t.Fatalf("got status %d, %s", status, out)
	}
	if got := fmt.Sprintf("%+v", x); !strings.HasPrefix(got, "{Role:mx Decision:remote Destination:far.test Destinations:[{Site:mx.far.test Hosts:[{Name:mx.far.test TLS:opportunistic}] Queue:{Reason:451 4.4.1 ") {
		t.Errorf("got %s", got)
	}
	i.stop()
	if list, err := filepath.Glob(filepath.Join(i.dir, "state/queue/mta-sts/*")); err != nil || len(list) > 0 {
		t.Errorf("policies were written: %v, %v", list, err)
	}
}
