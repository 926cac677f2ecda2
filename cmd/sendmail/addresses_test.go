package main

import (
	"strings"
	"testing"
)

func TestListsOfAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		// what is no list
		{"a b", "!"},
		{"a@b c", "!"},
		{"<a", "!"},
		{"a>", "!"},
		{"<a> <b>", "!"},
		{"<a;b>", "!"},
		{`"a`, "!"},
		{"(a", "!"},
		{"a)", "!"},
		{"a@[1.2", "!"},
		{`\a`, "!"},
		{"<a> : b", "!"},
		{strings.Repeat("(", 100_000), "!"},
		// what is
		{"", ""},
		{" ,\r\n , ;", ""},
		{"<>", "~"},
		{"a", "a~"},
		{"a, b@c.test,d", "a~ b@c.test d~"},
		{"A. B. <a@b.test>", "a@b.test"},
		{"a@b.test <c@d.test>", "c@d.test"},
		{`"x, y" <a>, "z@z"@b.test`, `a~ "z@z"@b.test`},
		{"root (Cron (\\)) Daemon), x", "root~ x~"},
		{" a (c) @ (d)\r\n\tb . test ", "a@b.test"},
		{"Team: a, B <b@c.test>;, d", "a~ b@c.test d~"},
		{"undisclosed-recipients:;", ""},
		{"<@r.test,@s.test:a@b.test>", "a@b.test"},
		{"a@[IPv6:2001:db8::1], b", "a@[IPv6:2001:db8::1] b~"},
		{"=?utf-8?Q?J=C3=B6rg?= <j@b.test>", "j@b.test"},
		{"jörg@b.test", "jörg@b.test"},
		{"Jörg Müller <j>", "j~"},
		{"<a@b.test> trailing words", "a@b.test"},
	} {
		list, err := parseList(c.in)
		var got []string
		for _, a := range list {
			if !a.domain {
				a.text += "~"
			}
			got = append(got, a.text)
		}
		have := strings.Join(got, " ")
		if err != nil {
			have = "!"
		}
		if have != c.want {
			t.Errorf("%.60q: got %q, want %q", c.in, have, c.want)
		}
	}
}

// FuzzList: what a list is completed to is a list again, of the same addresses with a domain each.
func FuzzList(f *testing.F) {
	f.Add("root (Cron Daemon), A: b@c, \"d e\" <f>;")
	f.Add("<@r,@s:a>, b . c (x)")
	f.Fuzz(func(t *testing.T, in string) {
		before, err := parseList(in)
		if err != nil {
			return
		}
		raw := completed(field{"to", "To:" + in}, "here.test")
		after, err := parseList(strings.TrimPrefix(raw, "To:"))
		if err != nil || len(after) != len(before) {
			t.Fatalf("%q became %q: %d addresses, then %d, %v", in, raw, len(before), len(after), err)
		}
		for i, a := range before {
			want := a.text
			if !a.domain && want != "" {
				want += "@here.test"
			}
			if after[i].text != want {
				t.Fatalf("%q became %q: %q, want %q", in, raw, after[i].text, want)
			}
		}
	})
}
