package greylist_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/greylist"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func open(t *testing.T, site filters.Site, text string, c *clock) *greylist.Filter {
	t.Helper()
	f := &greylist.Filter{Now: c.now, AskTime: time.Minute}
	if err := f.Configure(&site, filters.NewSettings("[settings]\n"+text)); err != nil {
		t.Fatal(err)
	}
	if err := f.Activate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// try gives the text of a refusal, "" = it passes.
func try(t *testing.T, f *greylist.Filter, client, sender, rcpt string, notes ...filters.Note) string {
	t.Helper()
	v, err := f.Recipient(t.Context(), &filters.Event{Client: netip.AddrPortFrom(netip.MustParseAddr(client), 25), ClientName: "mx.Known.test", Sender: sender, Recipient: rcpt, Notes: notes})
	if err != nil {
		t.Fatal(err)
	}
	if v == nil {
		return ""
	}
	if v.Action != filters.TempFail || v.Code != 451 || v.Enhanced != "4.7.1" {
		t.Errorf("got %+v", v)
	}
	return v.Text
}

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// checkLife goes with a triplet through its life, and with others beside it.
func checkLife(t *testing.T, f *greylist.Filter, c *clock) {
	t.Helper()
	for _, s := range []struct {
		name                 string
		after                time.Duration
		client, sender, rcpt string
		want                 string
	}{
		{"the first time", 0, "203.0.113.1", "a1@far.test", "b@here.test", "Greylisted, try again in 300 seconds"},
		{"at once again", 0, "203.0.113.1", "a1@far.test", "b@here.test", "Greylisted, try again in 300 seconds"},
		{"too early", 100 * time.Second, "203.0.113.1", "a1@far.test", "b@here.test", "Greylisted, try again in 200 seconds"},
		{"another recipient", 0, "203.0.113.1", "a1@far.test", "c@here.test", "Greylisted, try again in 300 seconds"},
		{"another sender", 0, "203.0.113.1", "b@far.test", "b@here.test", "Greylisted, try again in 300 seconds"},
		{"the null sender", 0, "203.0.113.1", "", "b@here.test", "Greylisted, try again in 300 seconds"},
		{"another network", 0, "203.0.114.1", "a1@far.test", "b@here.test", "Greylisted, try again in 300 seconds"},
		{"in time", 200 * time.Second, "203.0.113.1", "a1@far.test", "b@here.test", ""},
		{"from a neighbour, with another number, in capitals", 0, "203.0.113.200", "A99@FAR.test", "B@here.test", ""},
		{"another recipient, in time", 300 * time.Second, "203.0.113.1", "a1@far.test", "c@here.test", ""},
		{"a month later", 30 * 24 * time.Hour, "203.0.113.1", "a1@far.test", "b@here.test", ""},
		{"and another", 35 * 24 * time.Hour, "203.0.113.1", "a1@far.test", "b@here.test", ""},
	} {
		c.pass(s.after)
		if got := try(t, f, s.client, s.sender, s.rcpt); got != s.want {
			t.Errorf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
}

func TestTheLifeOfATriplet(t *testing.T) {
	c := &clock{t: start}
	site := filters.Site{StateDirectory: t.TempDir()}
	f := open(t, site, "", c)
	checkLife(t, f, c)
	c.pass(37 * 24 * time.Hour)
	if got := try(t, f, "203.0.113.1", "a1@far.test", "b@here.test"); got == "" {
		t.Error("what was kept too long passes")
	}
	c.pass(26 * time.Hour)
	if got := try(t, f, "203.0.113.1", "a1@far.test", "b@here.test"); got == "" {
		t.Error("what came again too late passes")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c.pass(6 * time.Minute)
	f = open(t, site, "", c)
	if got := try(t, f, "203.0.113.1", "a1@far.test", "b@here.test"); got != "" {
		t.Errorf("after a restart: got %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhoIsNotGreylisted(t *testing.T) {
	spf := filters.Note{Method: "spf", Result: "pass"}
	for _, c := range []struct {
		name, settings, client string
		notes                  []filters.Note
		passes                 bool
	}{
		{"a stranger", "", "203.0.113.1", []filters.Note{spf}, false},
		{"this machine", "", "127.0.0.1", nil, true},
		{"a network", "skip = [\"203.0.113.0/24\"]", "203.0.113.1", nil, true},
		{"a network, in the form of IPv6", "skip = [\"203.0.113.0/24\"]", "::ffff:203.0.113.1", nil, true},
		{"a name", "skip_names = [\"known.TEST\"]", "203.0.113.1", nil, true},
		{"part of a name", "skip_names = [\"nown.test\"]", "203.0.113.1", nil, false},
		{"SPF", "skip_spf = true", "203.0.113.1", []filters.Note{spf}, true},
		{"no SPF", "skip_spf = true", "203.0.113.1", []filters.Note{{Method: "spf", Result: "softfail"}}, false},
	} {
		f := open(t, filters.Site{StateDirectory: t.TempDir()}, c.settings, &clock{t: start})
		if got := try(t, f, c.client, "a@far.test", "b@here.test", c.notes...); (got == "") != c.passes {
			t.Errorf("%s: got %q", c.name, got)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBitsOfTheAddressThatCount(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filters.Site{StateDirectory: t.TempDir()}, "ipv4 = 32\nipv6 = 48", c)
	try(t, f, "203.0.113.1", "a@far.test", "b@here.test")
	try(t, f, "2001:db8:1:2::1", "a@far.test", "b@here.test")
	c.pass(10 * time.Minute)
	for client, passes := range map[string]bool{"203.0.113.1": true, "203.0.113.2": false, "2001:db8:1:3::1": true, "2001:db8:2::1": false} {
		if got := try(t, f, client, "a@far.test", "b@here.test"); (got == "") != passes {
			t.Errorf("%s: got %q", client, got)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatIsNoneIsToldOf(t *testing.T) {
	site := filters.Site{StateDirectory: t.TempDir()}
	if err := os.WriteFile(filepath.Join(site.StateDirectory, "triplets.db"), []byte(strings.Repeat("garbage ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &greylist.Filter{}
	if err := f.Configure(&site, filters.NewSettings("")); err != nil {
		t.Fatal(err)
	}
	if err := f.Activate(t.Context()); err == nil || !strings.Contains(err.Error(), "triplets.db") || !strings.Contains(err.Error(), "can be removed") {
		t.Errorf("got %v, want the file and what to do", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	c := &clock{t: start}
	f := open(t, filters.Site{StateDirectory: t.TempDir()}, "", c)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range 50 {
				if got := try(t, f, "203.0.113.1", fmt.Sprintf("%c%c@far.test", 'a'+i%26, 'a'+i/26), "b@here.test"); got == "" {
					t.Error("an unknown triplet passes")
				}
			}
		})
	}
	all.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSeveralHostsShareARealRedis(t *testing.T) {
	url, stop := mtatest.StartRedis(t)
	c := &clock{t: time.Now()}
	site := filters.Site{StateDirectory: t.TempDir(), SharedStoreURL: url}
	one, two := open(t, site, "", c), open(t, site, "", c)
	checkLife(t, one, c)
	if got := try(t, two, "203.0.113.7", "a2@far.test", "b@here.test"); got != "" {
		t.Errorf("the other host: got %q", got)
	}
	if got := try(t, two, "203.0.113.7", "x@far.test", "b@here.test"); got == "" {
		t.Error("what neither has seen passes")
	}
	stop()
	if got := try(t, one, "203.0.113.7", "y@far.test", "b@here.test"); got != "" {
		t.Errorf("without the store: got %q, want that it passes", got)
	}
	for _, f := range []*greylist.Filter{one, two} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, url, want string }{
		{"delay = \"0s\"", "", "line 2: delay"},
		{"delay = \"d\"", "", "line 2: delay"},
		{"window = \"1m\"", "", "line 2: window = \"1m\"; allowed: longer than delay"},
		{"keep = \"999999999999d\"", "", "line 2: keep"},
		{"keep = \"-5d\"", "", "line 2: keep"},
		{"ipv4 = 33", "", "line 2: ipv4"},
		{"ipv6 = 0", "", "line 2: ipv6"},
		{"skip = [\"x\"]", "", "line 2: skip"},
		{"skip_names = [\"a b\"]", "", "line 2: skip_names"},
		{"delai = \"5m\"", "", "line 2: unknown key"},
		{"", "http://user:hunter2@host", "shared.redis_url_file"},
	} {
		err := (&greylist.Filter{}).Configure(&filters.Site{SharedStoreURL: c.url}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q %s: got %v, want %s", c.text, c.url, err, c.want)
		}
	}
}
