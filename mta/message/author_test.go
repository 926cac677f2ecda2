package message_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/message"
)

func TestAuthorDomains(t *testing.T) {
	for _, c := range []struct {
		from []string
		want string // "" = an error
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"undisclosed:;"}, ""},
		{[]string{"root"}, ""},
		{[]string{strings.Repeat("a@b.test, ", 10_000) + "c@d.test"}, "b.test d.test"},
		{[]string{"a@1.test, a@2.test, a@3.test, a@4.test, a@5.test, a@6.test, a@7.test, a@8.test, a@9.test"}, ""},
		{[]string{"a@bank.test", "b@evil.test"}, "bank.test evil.test"},
		{[]string{"a@bank.test, b@evil.test"}, "bank.test evil.test"},
		{[]string{`"a@bank.test" <b@evil.test>`}, "evil.test"},
		{[]string{"a@bank.test <b@evil.test>"}, "bank.test evil.test"},
		{[]string{"<a@bank.test> <b@evil.test>"}, "bank.test evil.test"},
		{[]string{"Foo, Inc. <a@here.test>"}, "here.test"},
		{[]string{"=?gb2312?B?xOO6ww==?= <a@here.test>"}, "here.test"},
		{[]string{"=?nobody-knows-it?Q?=C4?= <a@here.test>"}, "here.test"},
		{[]string{"A (comment @x.test) <a@HERE.test>, b@here.TEST"}, "HERE.test"},
		{[]string{"Group: a@one.test, b@two.test;"}, "one.test two.test"},
		{[]string{"a@[192.0.2.1]"}, "[192.0.2.1]"},
		{[]string{"a@bücher.example"}, "bücher.example"},
	} {
		got, err := message.AuthorDomains(c.from)
		if strings.Join(got, " ") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%.60q: got %q, %v; want %q", c.from, got, err, c.want)
		}
	}
}
