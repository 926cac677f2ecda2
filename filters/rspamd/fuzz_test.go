package rspamd_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/rspamd"
)

var keyword = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)

// FuzzAnswer holds that whatever Rspamd answers becomes an error, or a verdict with which the host can find no fault.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"action":"add header","score":7.5,"required_score":15,"milter":{"spam_header":{"A":"a"},"remove_headers":{"X-Old":[1,-1,0],"y":1e300}}}`,
		`{"action":"no action","milter":{"add_headers":{"A":["a\r\n\r\nb",{"value":"c","order":0}],"B":5},"change_from":"<>","add_rcpt":"x@y","del_rcpt":{}},"dkim-signature":"v=1;\r\n\ta"}`,
		`{"action":"rewrite subject","subject":"é\u0000"}`, `{"action":"reject","score":-1e300,"messages":{"smtp_message":"no"}}`, `{"action":"é"}`, `[]`, `{"action":"x","milter":[]}`,
	} {
		f.Add(s)
	}
	filter := &rspamd.Filter{}
	if err := filter.Configure(&filters.Site{}, filters.NewSettings("[settings]\nscore = 10.0\n")); err != nil {
		f.Fatal(err)
	}
	m := filtertest.Message(f, message)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := filter.Judge(m, []byte(text))
		if err != nil {
			if s := err.Error(); len(s) > 400 || strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("got the error %q", s)
			}
			return
		}
		if v.Score < -1e6 || v.Score > 1e6 || len(v.Text) > 300 || strings.ContainsFunc(v.Text, func(r rune) bool { return r < ' ' || r > '~' }) || !keyword.MatchString(v.Notes[0].Result) {
			t.Fatalf("got %+v", v)
		}
		if n := len(v.Edits()); n > 500 {
			t.Fatalf("got %d edits", n)
		}
		for _, a := range v.Added() {
			if strings.ContainsAny(a.Name, " :\r\n") || strings.ContainsAny(strings.ReplaceAll(a.Raw, "\r\n", "\n"), "\r\x00") {
				t.Fatalf("got the field %q", a.Raw)
			}
		}
	})
}
