package arc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/arc"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

const body = "body\r\n"

// sealed puts a set on top of a header.
func sealed(t *testing.T, z mtatest.Texts, header []string, domain, results string, cv sign.CV) []string {
	t.Helper()
	signer, _, err := sign.Generate(true)
	if err != nil {
		t.Fatal(err)
	}
	k := sign.Key{Domain: domain, Selector: fmt.Sprintf("s%d", len(z)), Signer: signer}
	if z[k.Name()], err = k.Record(); err != nil {
		t.Fatal(err)
	}
	set, err := sign.Seal(header, strings.NewReader(body), results, cv, k, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return append(set, header...)
}

func judge(t *testing.T, z mtatest.Texts, message string) *filters.Verdict {
	t.Helper()
	f := &arc.Filter{Resolver: z}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\nscore = { fail = 1.5 }")); err != nil {
		t.Fatal(err)
	}
	v, err := f.Message(t.Context(), &filters.Event{Role: filters.RoleMX, Client: netip.MustParseAddrPort("192.0.2.1:25"), Message: filtertest.Message(t, message)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNotes(t *testing.T) {
	z := mtatest.Texts{}
	plain := []string{"From: a@bank.test\r\n", "Subject: x\r\n"}
	one := sealed(t, z, plain, "list.test", "list.test; spf=pass smtp.mailfrom=x@bank.test; dmarc=pass header.from=bank.test", sign.CVNone)
	two := sealed(t, z, append([]string{"Received: by x\r\n"}, one...), "forward.test", "forward.test; what is this", sign.CVPass)
	for _, c := range []struct {
		name, message, want string
		score               float64
	}{
		{"empty", "", "none", 0},
		{"no chain", strings.Join(plain, "") + "\r\n" + body, "none", 0},
		{"no chain, but a part of one", "ARC-Seal: i=1; cv=none\r\n" + strings.Join(plain, "") + "\r\n" + body, "fail", 1.5},
		{"two", strings.Join(two, "") + "\r\n" + body, "pass, 1 list.test dmarc=pass, 2 forward.test dmarc=", 0},
		{"another body", strings.Join(two, "") + "\r\nmore\r\n" + body, "fail", 1.5},
	} {
		v := judge(t, z, c.message)
		var got []string
		for i, n := range v.Notes {
			if i == 0 {
				got = append(got, n.Result)
				if n.Method != "arc" || n.Hidden || (n.Result == "fail") != (n.Reason != "") {
					t.Errorf("%s: got %+v", c.name, n)
				}
				continue
			}
			got = append(got, fmt.Sprintf("%s %s dmarc=%s", n.Get("header", "i"), n.Get("header", "d"), n.Get("policy", "dmarc")))
			if !n.Hidden {
				t.Errorf("%s: got the note %+v, want it hidden", c.name, n)
			}
		}
		if strings.Join(got, ", ") != c.want || v.Score != c.score {
			t.Errorf("%s: got %q, score %v; want %q, %v", c.name, got, v.Score, c.want, c.score)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[settings]\nscore = { temperror = 1.0 }", "line 2: score"},
		{"[settings]\nscores = {}", "line 2: unknown key"},
	} {
		err := (&arc.Filter{Resolver: mtatest.Texts{}}).Configure(&filters.Site{}, filters.NewSettings(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
