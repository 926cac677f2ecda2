package dnsbl_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dnsbl"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// zone has addresses by name; a zone's name alone means that it has every name, "later" that it does not answer.
type zone struct {
	addrs map[string]string
	texts map[string]string
	mu    sync.Mutex // guards asked
	asked []string
}

func (z *zone) Addrs(_ context.Context, host string, _ bool) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked = append(z.asked, host)
	z.mu.Unlock()
	text, ok := z.addrs[host]
	for at := host; !ok && at != ""; {
		_, at, _ = strings.Cut(at, ".")
		text, ok = z.addrs["*."+at]
	}
	switch {
	case !ok:
		return nil, dns.ErrNotFound
	case text == "later":
		return nil, errors.New("no answer")
	}
	var list []netip.Addr
	for a := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, nil
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	if text, ok := z.texts[name]; ok {
		return []string{text}, nil
	}
	return nil, dns.ErrNotFound
}

var world = zone{
	addrs: map[string]string{
		"1.113.0.203.bl.test":     "127.0.0.2",
		"2.113.0.203.bl.test":     "127.0.0.10 127.0.0.4",
		"1.113.0.203.wl.test":     "127.0.0.5",
		"3.113.0.203.bl.test":     "127.255.255.254", // not answered for this name server
		"4.113.0.203.bl.test":     "192.0.2.80",      // a provider's search page
		"*.wild.test":             "127.0.0.2",
		"*.late.test":             "later",
		"bad.example.dbl.test":    "127.0.1.2",
		"mx.bad.example.dbl.test": "127.0.1.2",
		"5.4.3.2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test": "127.0.0.2",
	},
	texts: map[string]string{"1.113.0.203.bl.test": "see\r\n250 OK\x00 http://bl.test/?203.0.113.1" + strings.Repeat("x", 1000)},
}

func configured(t *testing.T, text string) *dnsbl.Filter {
	t.Helper()
	f := &dnsbl.Filter{Resolver: &world}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+text)); err != nil {
		t.Fatal(err)
	}
	return f
}

// session goes through all stages; it returns the notes, and the first refusal with its stage.
func session(t *testing.T, f *dnsbl.Filter, e filters.Event) (notes []filters.Note, score float64, at string, refusal *filters.Verdict) {
	t.Helper()
	for _, s := range []struct {
		name string
		ask  func(context.Context, *filters.Event) (*filters.Verdict, error)
	}{{"connect", f.Connect}, {"hello", f.Hello}, {"sender", f.Sender}, {"recipient", f.Recipient}} {
		v, err := s.ask(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		if v == nil {
			continue
		}
		e.Notes, score = append(e.Notes, v.Notes...), score+v.Score
		if v.Action != filters.Continue {
			return e.Notes, score, s.name, v
		}
	}
	return e.Notes, score, "", nil
}

func TestListingsAreWeighed(t *testing.T) {
	const bl = `lists = [{ zone = "bl.test" }]`
	for _, c := range []struct {
		name, settings, client, clientName, helo, sender, rcpt string
		at, text                                               string
	}{
		{"not listed", bl, "203.0.113.9", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"listed", bl, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "recipient", "203.0.113.1 is listed by bl.test: see 250 OK http://bl.test/?203.0.113.1xxx"},
		{"listed, in the form of IPv6", bl, "::ffff:203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "recipient", "203.0.113.1 is listed by bl.test"},
		{"listed, IPv6", bl, "2001:db8::1:2345", "", "a.test", "a@b.test", "x@here.test", "recipient", "2001:db8::1:2345 is listed by bl.test"},
		{"early", bl + "\nearly = true", "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "connect", "is listed"},
		{"to one who can help", bl, "203.0.113.1", "", "a.test", "a@b.test", "Postmaster@here.test", "", ""},
		{"never refused", bl + "\nreject = 0.0", "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"skipped", bl + "\nskip = [\"203.0.113.0/30\"]", "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"an error of the list", bl, "203.0.113.3", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"an answer that is no listing", bl, "203.0.113.4", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"a list that has everybody", `lists = [{ zone = "wild.test" }]`, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"a list that has every name", `lists = [{ zone = "wild.test", kind = "domain" }]`, "203.0.113.9", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"a list that does not answer", `lists = [{ zone = "late.test" }, { zone = "bl.test" }]`, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "recipient", "bl.test"},
		{"another answer", `lists = [{ zone = "bl.test", answers = ["127.0.0.4"] }]`, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"that answer", `lists = [{ zone = "bl.test", answers = ["127.0.0.4/30"] }]`, "203.0.113.2", "", "a.test", "a@b.test", "x@here.test", "recipient", "bl.test"},
		{"too light", `lists = [{ zone = "bl.test", weight = 0.5 }]`, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"a list of the good against it", `lists = [{ zone = "bl.test" }, { zone = "wl.test", weight = -1.0 }]`, "203.0.113.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
		{"HELO", `lists = [{ zone = "dbl.test", kind = "domain", of = ["helo"] }]`, "203.0.113.9", "", "MX.bad.example", "a@b.test", "x@here.test", "recipient", "mx.bad.example is listed by dbl.test"},
		{"the sender", `lists = [{ zone = "dbl.test", kind = "domain", of = ["sender"] }]`, "203.0.113.9", "", "mx.bad.example", "a@bad.example", "x@here.test", "recipient", "bad.example is listed by dbl.test"},
		{"the client's name", `lists = [{ zone = "dbl.test", kind = "domain", of = ["client"] }]`, "203.0.113.9", "mx.bad.example", "a.test", "a@b.test", "x@here.test", "recipient", "mx.bad.example is listed"},
		{"names that are none", `lists = [{ zone = "dbl.test", kind = "domain" }]`, "203.0.113.9", "", "[203.0.113.9]", "", "x@here.test", "", ""},
		{"half an address and half a name", `lists = [{ zone = "bl.test", weight = 0.5 }, { zone = "dbl.test", kind = "domain", of = ["sender"], weight = 0.5 }]`, "203.0.113.1", "", "a.test", "a@bad.example", "x@here.test", "recipient", "is listed by bl.test"},
		{"of this machine", bl, "127.0.0.1", "", "a.test", "a@b.test", "x@here.test", "", ""},
	} {
		e := filters.Event{Client: netip.AddrPortFrom(netip.MustParseAddr(c.client), 25), ClientName: c.clientName, Helo: c.helo, Sender: c.sender, Recipient: c.rcpt}
		_, _, at, v := session(t, configured(t, c.settings), e)
		if at != c.at || v != nil && !strings.Contains(v.Text, c.text) {
			t.Errorf("%s: got a refusal at %q: %+v; want %q, %s", c.name, at, v, c.at, c.text)
		}
		if v != nil && (len(v.Text) > 300 || strings.ContainsAny(v.Text, "\r\n\x00")) {
			t.Errorf("%s: got the text %q", c.name, v.Text)
		}
	}
}

func TestScoreAndNotes(t *testing.T) {
	f := configured(t, "score = 2.0\nreject = 0.0\nlists = [{ zone = \"bl.test\", weight = 1.5 }, { zone = \"wl.test\", weight = -0.5 }]")
	notes, score, _, _ := session(t, f, filters.Event{Client: netip.MustParseAddrPort("203.0.113.1:25"), Helo: "a.test", Recipient: "x@here.test"})
	if score != 2 || len(notes) != 2 || !notes[0].Hidden || notes[0].Get("dns", "answer") != "127.0.0.2" {
		t.Errorf("got the score %v, notes %+v", score, notes)
	}
}

func TestTheAddressOfAnIPv6ClientIsAskedByNibbles(t *testing.T) {
	z := &zone{}
	f := &dnsbl.Filter{Resolver: z}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\nlists = [{ zone = \"v6.test\" }]")); err != nil {
		t.Fatal(err)
	}
	session(t, f, filters.Event{Client: netip.MustParseAddrPort("[2001:db8:1:2:3:4:567:89ab]:25")})
	if want := "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.v6.test"; !slices.Contains(z.asked, want) { // RFC 5782 2.4
		t.Errorf("asked %v, want %s", z.asked, want)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"lists = [{ zone = \"a b\" }]", "line 2: lists: the 1. one: zone"},
		{"lists = [{ zone = \"a.test\" }, { zone = \"\" }]", "line 2: lists: the 2. one: zone"},
		{"lists = [{ zone = \"a.test\", kind = \"ip\" }]", "line 2: lists: the 1. one: kind"},
		{"lists = [{ zone = \"a.test\", of = [\"helo\"] }]", "of is for lists of domains"},
		{"lists = [{ zone = \"a.test\", kind = \"domain\", of = [\"body\"] }]", "of: \"body\""},
		{"lists = [{ zone = \"a.test\", weight = nan }]", "weight"},
		{"lists = [{ zone = \"a.test\", weight = 1e9 }]", "weight"},
		{"lists = [{ zone = \"a.test\", answers = [\"::1\"] }]", "answers"},
		{"lists = [{ zone = \"a.test\", wait = 1 }]", "unknown key"},
		{"lists = [" + strings.Repeat("{ zone = \"a.test\" },", 65) + "]", "line 2: lists: 65"},
		{"reject = -1.0", "line 2: reject"},
		{"timeout = \"1h\"", "line 2: timeout"},
		{"skip = [\"x\"]", "line 2: skip"},
	} {
		err := (&dnsbl.Filter{Resolver: &world}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: got %v, want %s", c.text, err, c.want)
		}
	}
}
