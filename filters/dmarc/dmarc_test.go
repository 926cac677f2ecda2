package dmarc_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dmarc"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// zone has TXT records alone.
type zone struct{ mtatest.Texts }

func (z zone) Addrs(context.Context, string, bool) ([]netip.Addr, error) { return nil, dns.ErrNoData }

var world = zone{mtatest.Texts{
	"_dmarc.bank.test":          "v=DMARC1; p=reject",
	"_dmarc.mild.test":          "v=DMARC1; p=quarantine",
	"_dmarc.watch.test":         "v=DMARC1; p=none",
	"_dmarc.trial.test":         "v=DMARC1; p=reject; t=y",
	"_dmarc.late.test":          "later",
	"_dmarc.asks.test":          "v=DMARC1; p=reject; rua=mailto:r@asks.test",
	"_dmarc.trialasks.test":     "v=DMARC1; p=reject; t=y; rua=mailto:r@asks.test",
	"_dmarc.xn--bcher-kva.test": "v=DMARC1; p=reject",
}}

func configured(t *testing.T, text string) *dmarc.Filter {
	t.Helper()
	f := &dmarc.Filter{Resolver: world}
	if err := f.Configure(&filters.Site{}, filters.NewSettings(text)); err != nil {
		t.Fatal(err)
	}
	return f
}

func spfNote(result, mailfrom string) filters.Note {
	return filters.Note{Method: "spf", Result: result, Properties: []filters.Property{{Type: "smtp", Name: "mailfrom", Value: mailfrom}}}
}

func dkimNote(result, d string) filters.Note {
	return filters.Note{Method: "dkim", Result: result, Properties: []filters.Property{{Type: "header", Name: "d", Value: d}}}
}

// arcNotes are those of a chain: its result, and for each set the domain and what it says of the author.
func arcNotes(result string, sets ...string) []filters.Note {
	notes := []filters.Note{{Method: "arc", Result: result}}
	for i := 0; i < len(sets); i += 2 {
		notes = append(notes, filters.Note{Method: "arc-set", Result: "pass", Hidden: true, Properties: []filters.Property{
			{Type: "header", Name: "d", Value: sets[i]}, {Type: "policy", Name: "dmarc", Value: sets[i+1]},
		}})
	}
	return notes
}

func judge(t *testing.T, f *dmarc.Filter, header string, notes ...filters.Note) *filters.Verdict {
	t.Helper()
	v, err := f.Message(t.Context(), &filters.Event{Role: filters.RoleMX, Client: netip.MustParseAddrPort("192.0.2.1:25"), Message: filtertest.Message(t, header+"\r\nbody\r\n"), Notes: notes})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const hard = "[settings]\non_reject = \"reject\"\non_bad_author = \"reject\"\non_temperror = \"tempfail\"\nscore = { fail = 3.0 }\n"

func TestWhatBecomesOfAMessage(t *testing.T) {
	nothing := []filters.Note{spfNote("none", "x@evil.test"), dkimNote("none", "")}
	for _, c := range []struct {
		name, settings, header string
		notes                  []filters.Note
		result                 string
		action                 filters.Action
	}{
		{"no From", hard, "Subject: x\r\n", nothing, "permerror", filters.Reject},
		{"no From, by default", "", "Subject: x\r\n", nothing, "permerror", filters.Continue},
		{"no domain in From", hard, "From: root\r\n", nothing, "permerror", filters.Reject},
		{"a name of DNS's that is none", hard, "From: a@b..test\r\n", nothing, "permerror", filters.Reject},
		{"an address literal", hard, "From: a@[192.0.2.1]\r\n", nothing, "permerror", filters.Reject},
		{"a second From", hard, "From: a@nobody.test\r\nFrom: a@bank.test\r\n", nothing, "fail", filters.Reject},
		{"a second author", hard, "From: a@watch.test, b@bank.test\r\n", []filters.Note{spfNote("pass", "x@watch.test"), dkimNote("none", "")}, "fail", filters.Reject},
		{"an author in a display name", hard, "From: a@bank.test <x@evil.test>\r\n", []filters.Note{spfNote("pass", "x@evil.test"), dkimNote("pass", "evil.test")}, "fail", filters.Reject},
		{"nothing is proven", hard, "From: a@bank.test\r\n", nothing, "fail", filters.Reject},
		{"by default it goes to Junk", "", "From: a@bank.test\r\n", nothing, "fail", filters.Quarantine},
		{"or nowhere", "[settings]\non_reject = \"none\"", "From: a@bank.test\r\n", nothing, "fail", filters.Continue},
		{"quarantine", hard, "From: a@mild.test\r\n", nothing, "fail", filters.Quarantine},
		{"no quarantine", "[settings]\non_quarantine = \"none\"", "From: a@mild.test\r\n", nothing, "fail", filters.Continue},
		{"p=none changes nothing", hard, "From: a@watch.test\r\n", nothing, "fail", filters.Continue},
		{"a test of reject", hard, "From: a@trial.test\r\n", nothing, "fail", filters.Quarantine},
		{"no policy", hard, "From: a@nobody.test\r\n", nothing, "none", filters.Continue},
		{"by SPF", hard, "From: a@bank.test\r\n", []filters.Note{spfNote("pass", "x@mail.bank.test"), dkimNote("none", "")}, "pass", filters.Continue},
		{"SPF failed", hard, "From: a@bank.test\r\n", []filters.Note{spfNote("fail", "x@bank.test"), dkimNote("none", "")}, "fail", filters.Reject},
		{"by HELO", hard, "From: a@bank.test\r\n", []filters.Note{{Method: "spf", Result: "pass", Properties: []filters.Property{{Type: "smtp", Name: "helo", Value: "mx.bank.test"}}}, dkimNote("none", "")}, "pass", filters.Continue},
		{"by DKIM", hard, "From: a@BANK.test\r\n", []filters.Note{spfNote("softfail", "x@list.test"), dkimNote("fail", "bank.test"), dkimNote("pass", "bank.test")}, "pass", filters.Continue},
		{"DKIM of another", hard, "From: a@bank.test\r\n", []filters.Note{spfNote("pass", "x@list.test"), dkimNote("fail", "bank.test"), dkimNote("pass", "list.test")}, "fail", filters.Reject},
		{"in letters that DNS does not have", hard, "From: a@bücher.test\r\n", []filters.Note{spfNote("pass", "x@bücher.test"), dkimNote("none", "")}, "pass", filters.Continue},
		{"DNS does not answer", hard, "From: a@late.test\r\n", nothing, "temperror", filters.TempFail},
		{"DNS does not answer, by default", "", "From: a@late.test\r\n", nothing, "temperror", filters.Continue},
		{"a signature could not be checked now", hard, "From: a@bank.test\r\n", []filters.Note{spfNote("none", "x@evil.test"), dkimNote("temperror", "bank.test")}, "temperror", filters.TempFail},
		{"dkim is not enabled", hard, "From: a@bank.test\r\n", []filters.Note{spfNote("none", "x@evil.test")}, "temperror", filters.TempFail},
		{"spf is not enabled", "", "From: a@bank.test\r\n", []filters.Note{dkimNote("none", "")}, "temperror", filters.Continue},
		{"spf is not enabled, but it passes", hard, "From: a@bank.test\r\n", []filters.Note{dkimNote("pass", "bank.test")}, "pass", filters.Continue},
		{"a list that is trusted", hard + "trust_arc = [\"list.test\"]", "From: a@bank.test\r\n", append(arcNotes("pass", "list.test", "pass"), nothing...), "fail", filters.Continue},
		{"through two that are trusted", hard + "trust_arc = [\"forward.test\", \"LIST.test\"]", "From: a@bank.test\r\n", append(arcNotes("pass", "evil.test", "fail", "list.test", "pass", "forward.test", "fail"), nothing...), "fail", filters.Continue},
		{"a list that has not seen it pass", hard + "trust_arc = [\"list.test\"]", "From: a@bank.test\r\n", append(arcNotes("pass", "list.test", "fail"), nothing...), "fail", filters.Reject},
		{"the word of one who is not trusted", hard + "trust_arc = [\"list.test\"]", "From: a@bank.test\r\n", append(arcNotes("pass", "evil.test", "pass", "list.test", "fail"), nothing...), "fail", filters.Reject},
		{"trusted, and then in other hands", hard + "trust_arc = [\"list.test\"]", "From: a@bank.test\r\n", append(arcNotes("pass", "list.test", "pass", "evil.test", "pass"), nothing...), "fail", filters.Reject},
		{"a chain that is broken", hard + "trust_arc = [\"list.test\"]", "From: a@bank.test\r\n", append(arcNotes("fail", "list.test", "pass"), nothing...), "fail", filters.Reject},
		{"a chain, and nobody is trusted", hard, "From: a@bank.test\r\n", append(arcNotes("pass", "list.test", "pass"), nothing...), "fail", filters.Reject},
		{"a forwarder", hard + "trust = [\"192.0.2.0/24\"]", "From: a@bank.test\r\n", nothing, "fail", filters.Continue},
	} {
		v := judge(t, configured(t, c.settings), c.header, c.notes...)
		n := v.Notes[0]
		if n.Method != "dmarc" || n.Result != c.result || v.Action != c.action {
			t.Errorf("%s: got %s, action %d (%s, %q); want %s, %d", c.name, n.Result, v.Action, v.Text, n.Reason, c.result, c.action)
		}
		if strings.Contains(v.Text+n.Reason, "192.0.2.53") {
			t.Errorf("%s: it tells of our name servers: %q, %q", c.name, v.Text, n.Reason)
		}
		if want := map[bool]float64{true: 3}[c.result == "fail" && strings.Contains(c.settings, "score")]; v.Score != want {
			t.Errorf("%s: got the score %v, want %v", c.name, v.Score, want)
		}
	}
}

func TestTheNote(t *testing.T) {
	n := judge(t, configured(t, ""), "From: a@sub.bank.test\r\n", spfNote("none", "x@evil.test"), dkimNote("none", "")).Notes[0]
	if n.Get("header", "from") != "sub.bank.test" || n.Get("policy", "dmarc") != "reject" {
		t.Errorf("got %+v, want the author's domain and the policy", n)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[settings]\non_reject = \"discard\"", "line 2: on_reject"},
		{"[settings]\n\non_quarantine = \"reject\"", "line 3: on_quarantine"},
		{"[settings]\non_bad_author = 1", "incompatible"},
		{"[settings]\non_temperror = \"reject\"", "line 2: on_temperror"},
		{"[settings]\ntrust = [\"everybody\"]", "line 2: trust"},
		{"[settings]\ntrust_arc = [\"a..b\"]", "line 2: trust_arc"},
		{"[settings]\nscore = { x = 1.0 }", "line 2: score"},
		{"[settings]\nreport_from = \"nobody\"", "line 2: report_from"},
		{"[settings]\nreport_from = \"a@here.test\"", "line 2: report_from: reports leave"},
		{"[settings]\non_rejekt = \"none\"", "line 2: unknown key"},
	} {
		err := (&dmarc.Filter{Resolver: world}).Configure(&filters.Site{}, filters.NewSettings(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
