package mtasts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx1.d.test\r\nmx: *.pool.d.test\r\nmax_age: 604800\r\n"

func TestWhatIsNoPolicy(t *testing.T) {
	for _, s := range []string{
		"", "\r\n", "version", "version: STSv1", "<html>", "\x00",
		strings.Replace(good, "STSv1", "STSv2", 1),
		strings.Replace(good, "version: STSv1\r\n", "", 1),
		strings.Replace(good, "enforce", "Enforce", 1),
		strings.Replace(good, "enforce", "", 1),
		strings.Replace(good, "604800", "-1", 1),
		strings.Replace(good, "604800", "+1", 1),
		strings.Replace(good, "604800", "1e3", 1),
		strings.Replace(good, "604800", "99999999999", 1),
		strings.Replace(good, "604800", "", 1),
		strings.Replace(good, "mx1.d.test", "", 1),
		strings.Replace(good, "mx1.d.test", "mx*.d.test", 1),
		strings.Replace(good, "mx1.d.test", "*", 1),
		strings.Replace(good, "mx1.d.test", "*.*.test", 1),
		strings.Replace(good, "mx1.d.test", "a b", 1),
		"version: STSv1\nmode: enforce\nmax_age: 1",
		"version: STSv1\nmode: testing\nmax_age: 1",
		good + "what is this\r\nmx: mx2.d.test",
	} {
		if p, err := ParsePolicy(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %+v, %v; want ErrInvalid", s, p, err)
		}
	}
}

func TestPolicies(t *testing.T) {
	for text, want := range map[string]string{
		good: "enforce 168h0m0s [mx1.d.test *.pool.d.test]",
		strings.ReplaceAll(good, "\r", "") + "\n \n":                       "enforce 168h0m0s [mx1.d.test *.pool.d.test]",
		"max_age:5\nmx:\tMX.Bücher.test. \nmode:testing\nversion:STSv1":    "testing 5s [mx.xn--bcher-kva.test]",
		"version: STSv1\nmode: none\nmax_age: 0":                           "none 0s []",
		"version: STSv1\nmode: none\nmode: enforce\nmax_age: 1\nfuture: 1": "none 1s []",
		"version: STSv1\nmode: none\nmax_age: 4000000000":                  "none 8766h0m0s []",
	} {
		p, err := ParsePolicy(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := fmt.Sprint(p.Mode, " ", p.MaxAge, " ", p.MX); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestHostsThatAPolicyAllows(t *testing.T) {
	p, err := ParsePolicy(good)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"": false, "d.test": false, "mx2.d.test": false, "xmx1.d.test": false, "a.mx1.d.test": false, "pool.d.test": false,
		"a.b.pool.d.test": false, "apool.d.test": false, "*.pool.d.test": true, // which no host is called
		"mx1.d.test": true, "a.pool.d.test": true,
	} {
		if got := p.Allows(host); got != want {
			t.Errorf("%s: got %v, want %v", host, got, want)
		}
	}
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("a", 33)
	for _, c := range []struct {
		texts string // "|" between
		id    string // "": no policy
	}{
		{"", ""}, {"v=STSv1", ""}, {"v=STSv1;", ""}, {"v=STSv1; id=", ""}, {"v=STSv1; id=a b", ""}, {"v=STSv1; id=" + long, ""},
		{"v=STSv2; id=1", ""}, {"v=STSv10; id=1", ""}, {"id=1; v=STSv1", ""}, {" v=STSv1; id=1", ""}, {"v=stsv1; id=1", ""}, {"v=STSv1; ID=1", ""},
		{"v=STSv1; id=1|v=STSv1; id=2", ""}, {"v=STSv1; id=1|v=STSv1;", ""},
		{"v=STSv1; id=1", "1"}, {"v=STSv1;id=20260101T000000Z;", "20260101T000000Z"}, {"v=STSv1 ; a=b;\tid=x ;c=d", "x"},
		{"v=STSv1; id=1; id=2", "1"}, {"v=spf1 -all|v=STSv1; id=1|other", "1"},
	} {
		id, ok := parseRecord(strings.Split(c.texts, "|"))
		if ok != (c.id != "") || ok && id != c.id {
			t.Errorf("%q: got %q, %v; want %q", c.texts, id, ok, c.id)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(good)
	f.Add("version:STSv1\nmode:none\nmax_age:1")
	f.Add("version: STSv1\nmx: *.\x00\nmode: enforce\nmax_age: 00000000001")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxAge || p.Mode != None && len(p.MX) == 0 {
			t.Errorf("%q: got %+v", s, p)
		}
		again, err := ParsePolicy(strings.Join(p.Lines, "\r\n"))
		if err != nil || fmt.Sprint(*again) != fmt.Sprint(*p) {
			t.Errorf("%q: its lines give %+v, %v; want %+v", s, again, err, p)
		}
		_ = p.Allows(s)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("v=STSv1; id=1;")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseRecord([]string{s}); ok && (id == "" || len(id) > 32) {
			t.Errorf("%q: got id %q", s, id)
		}
	})
}
