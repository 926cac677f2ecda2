package smtp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line string
		want smtp.Command
		err  error
	}{
		{"", smtp.Command{}, smtp.ErrSyntax},
		{" NOOP", smtp.Command{}, smtp.ErrSyntax},
		{"NOOP\x00", smtp.Command{}, smtp.ErrSyntax},
		{"NOOP\r", smtp.Command{}, smtp.ErrSyntax},
		{"NO\x7fOP", smtp.Command{}, smtp.ErrSyntax},
		{"NOOP \xff", smtp.Command{}, smtp.ErrSyntax},
		{"N00P", smtp.Command{}, smtp.ErrSyntax},
		{"MAIL\tFROM:<>", smtp.Command{}, smtp.ErrSyntax},
		{strings.Repeat("A", 33), smtp.Command{}, smtp.ErrSyntax},
		{"quit", smtp.Command{Verb: "QUIT"}, nil},
		{"Mail FROM:<ä@x>  ", smtp.Command{Verb: "MAIL", Args: "FROM:<ä@x>"}, nil},
		{"EHLO  a\t", smtp.Command{Verb: "EHLO", Args: "a"}, nil},
	} {
		got, err := smtp.ParseCommand([]byte(c.line))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: got %+v, %v; want %+v, %v", c.line, got, err, c.want, c.err)
		}
	}
}

func TestParseTo(t *testing.T) {
	for _, c := range []struct {
		args, want string
		err        error
	}{
		{"", "", smtp.ErrArgument},
		{"TO", "", smtp.ErrArgument},
		{"TO:a@b.test", "", smtp.ErrArgument},
		{"TO:<a@b.test", "", smtp.ErrArgument},
		{"FROM:<a@b.test>", "", smtp.ErrArgument},
		{"TO:<a@b.test>x", "", smtp.ErrArgument},
		{`TO:<"a@b.test>`, "", smtp.ErrArgument},
		{`TO:<"a\">@b.test>`, "", smtp.ErrArgument},
		{"TO:<>", "", smtp.ErrPath},
		{"TO:<<a@b.test>>", "", smtp.ErrArgument},
		{"TO:<a@b.test@c.test>", "", smtp.ErrPath},
		{"TO:<@x>", "", smtp.ErrPath},
		{"TO:<@x,y:a@b.test>", "", smtp.ErrPath},
		{"TO:<@x..y:a@b.test>", "", smtp.ErrPath},
		{"TO:<" + strings.Repeat("a", 255) + "@b.test>", "", smtp.ErrPath},
		{"TO:<a@b.test> X=", "", smtp.ErrParameter},
		{"TO:<a@b.test> X=1 x=2", "", smtp.ErrParameter},
		{"TO:<a@b.test> X=a=b", "", smtp.ErrParameter},
		{"TO:<a@b.test> =b", "", smtp.ErrParameter},
		{"TO:<a@b.test> " + strings.Repeat("A ", 1) + manyParams(), "", smtp.ErrParameter},
		{"to:<a@B.test>", "a@b.test", nil},
		{"TO: <a@b.test> X Y=1", "a@b.test", nil},
		{`TO:<"a > b"@b.test>`, `"a > b"@b.test`, nil},
		{`TO:<"a\"b"@b.test>`, `"a\"b"@b.test`, nil},
		{"TO:<@x.test,@[IPv6:::1],@y:a@b.test>", "a@b.test", nil},
		{"TO:<@[IPv6:::1]:a@b.test>", "a@b.test", nil},
		{"TO:<a@[127.0.0.1]>", "a@[127.0.0.1]", nil},
		{"TO:<POSTmaster>", "postmaster", nil},
	} {
		got, _, err := smtp.ParseTo(c.args)
		if err == nil && c.err == nil && got.String() == c.want {
			continue
		}
		if !errors.Is(err, c.err) || c.err == nil {
			t.Errorf("%q: got %v, %v; want %q, %v", c.args, got, err, c.want, c.err)
		}
	}
}

func manyParams() string {
	var b strings.Builder
	for c := 'B'; c <= 'Z'; c++ {
		b.WriteString(string(c) + " ")
	}
	return b.String()
}

func TestParseFrom(t *testing.T) {
	a, params, err := smtp.ParseFrom("FROM:<> SIZE=12 smtputf8")
	if !a.IsNull() || len(params) != 2 || params[0] != (smtp.Param{Key: "SIZE", Value: "12", Set: true}) || params[1] != (smtp.Param{Key: "SMTPUTF8"}) || err != nil {
		t.Errorf("got %v, %v, %v", a, params, err)
	}
	if _, _, err := smtp.ParseFrom("FROM:<postmaster>"); !errors.Is(err, smtp.ErrPath) {
		t.Errorf("a sender without a domain: got %v, want %v", err, smtp.ErrPath)
	}
}

func TestParseSize(t *testing.T) {
	for _, s := range []string{"", "-1", "+1", "1k", "123456789012345678901"} {
		if n, err := smtp.ParseSize(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, n)
		}
	}
	for s, want := range map[string]int64{"0": 0, "12": 12, "99999999999999999999": 1<<63 - 1} {
		if n, err := smtp.ParseSize(s); n != want || err != nil {
			t.Errorf("%q: got %d, %v; want %d", s, n, err, want)
		}
	}
}

func TestParseBDAT(t *testing.T) {
	for _, s := range []string{"", "LAST", "-1", "+1", "0x10", "1 2", "1 LASTLY", "1 LAST LAST", "1,LAST", "123456789012345678901", " 1"} {
		if size, last, err := smtp.ParseBDAT(s); !errors.Is(err, smtp.ErrArgument) {
			t.Errorf("%q: got %d, %v, %v; want %v", s, size, last, err, smtp.ErrArgument)
		}
	}
	for s, want := range map[string]struct {
		size int64
		last bool
	}{"0": {}, "12": {size: 12}, "0 last": {last: true}, "7  LAST": {7, true}, "99999999999999999999 Last": {1<<63 - 1, true}} {
		if size, last, err := smtp.ParseBDAT(s); size != want.size || last != want.last || err != nil {
			t.Errorf("%q: got %d, %v, %v; want %+v", s, size, last, err, want)
		}
	}
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"+", "+4", "+4g", "+2b", "a b", "a=b", "ä", "\x00"} {
		if got, err := smtp.DecodeXtext(s); err == nil {
			t.Errorf("%q: got %q, want an error", s, got)
		}
	}
	for _, s := range []string{"", "a+b=c d", "ä\x00\xff", "plain@x.test"} {
		if got, err := smtp.DecodeXtext(smtp.EncodeXtext(s)); got != s || err != nil {
			t.Errorf("%q by way of %q: got %q, %v", s, smtp.EncodeXtext(s), got, err)
		}
	}
}

func TestEncodeXtext(t *testing.T) {
	for s, want := range map[string]string{"!~": "!~", " \x7f": "+20+7F", "a+b=c": "a+2Bb+3Dc", "ä": "+C3+A4"} {
		if got := smtp.EncodeXtext(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// FuzzCommand: what comes through can be said again, and means the same.
func FuzzCommand(f *testing.F) {
	f.Add([]byte("MAIL FROM:<a@b.test> SIZE=1"))
	f.Add([]byte(`RCPT TO:<@x,@y:"a b"@[IPv6:::1]> NOTIFY=NEVER`))
	f.Fuzz(func(t *testing.T, line []byte) {
		cmd, err := smtp.ParseCommand(line)
		if err != nil {
			return
		}
		if strings.ContainsAny(cmd.Verb+cmd.Args, "\r\n\x00") || strings.ToUpper(cmd.Verb) != cmd.Verb {
			t.Fatalf("%q: got %+v", line, cmd)
		}
		var a mta.Address
		var params []smtp.Param
		switch cmd.Verb {
		case "MAIL":
			a, params, err = smtp.ParseFrom(cmd.Args)
		case "RCPT":
			a, params, err = smtp.ParseTo(cmd.Args)
		default:
			return
		}
		if err != nil {
			return
		}
		again := "TO:<" + a.String() + ">"
		if cmd.Verb == "MAIL" {
			again = "FROM:<" + a.String() + ">"
		}
		for _, p := range params {
			again += " " + p.Key
			if p.Set {
				again += "=" + p.Value
			}
		}
		parse := smtp.ParseTo
		if cmd.Verb == "MAIL" {
			parse = smtp.ParseFrom
		}
		b, more, err := parse(again)
		if err != nil || b != a || len(more) != len(params) {
			t.Fatalf("%q: got %v, %v; said again as %q: %v, %v, %v", line, a, params, again, b, more, err)
		}
	})
}
