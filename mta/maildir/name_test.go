package maildir_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

const id mta.ID = "0A00000000000AAA"

func TestAUniqueNameIsShortSafeAndItsOwn(t *testing.T) {
	safe := regexp.MustCompile(`^[A-Za-z0-9._-]{1,70}$`)
	seen := map[string]string{}
	long := id
	for len(long) < mta.MaxIDLen-8 {
		long = long.Child('F', 123456)
	}
	for _, x := range []mta.ID{id, id.Child('F', 1), id.Child('X', 12), "0A00000000000AAB", long} {
		for _, index := range []int{0, 1, 11, 999999999} {
			for _, host := range []string{"h", "mx.example.org", "../../x", "a:b,c\n", strings.Repeat("long.", 50) + "example", strings.Repeat("long.", 50) + "example2", "é.example"} {
				u := maildir.Unique(x, index, host)
				if !safe.MatchString(u) {
					t.Errorf("%s %d %q: got %q", x, index, host, u)
				}
				if again := maildir.Unique(x, index, host); again != u {
					t.Errorf("%s %d %q: got %q, then %q", x, index, host, u, again)
				}
				what := string(x) + " " + strings.Repeat("i", index%97) + " " + host
				if other, ok := seen[u]; ok {
					t.Errorf("%q is the name of %q and of %q", u, other, what)
				}
				seen[u] = what
				if n, ok := maildir.ParseName(maildir.FileName(u, 5, 7)); !ok || n.Unique != u || n.Size != 5 || n.Wire != 7 {
					t.Errorf("%q: its name reads as %+v", u, n)
				}
			}
		}
	}
	if got := maildir.Unique(id, 3, "mx.example.org"); got != string(id)+".3.mx.example.org" {
		t.Errorf("got %q", got)
	}
}

func TestPathLeadsNowhereElse(t *testing.T) {
	const template = "/var/mail/{domain}/{local}"
	for _, a := range []mta.Address{
		{Local: "..", Domain: "x"}, {Local: ".", Domain: "x"}, {Local: ".hidden", Domain: "x"}, {Local: "a/b", Domain: "x"}, {Local: "/etc", Domain: "x"},
		{Local: "../../etc/cron.d/x", Domain: "x"}, {Local: "a\x00", Domain: "x"}, {Local: "a\nb", Domain: "x"}, {Local: "a\x7f", Domain: "x"},
		{Local: "", Domain: "x"}, {Local: "a", Domain: ""}, {Local: "a", Domain: ".."}, {Local: "a", Domain: "x/y"}, {},
		{Local: strings.Repeat("a", 256), Domain: "x"},
	} {
		if got, err := maildir.Path(template, a); !errors.Is(err, maildir.ErrBadMailbox) {
			t.Errorf("%q: got %q, %v; want ErrBadMailbox", a, got, err)
		}
	}
	for want, a := range map[string]mta.Address{
		"/var/mail/example.org/bob":     {Local: "bob", Domain: "example.org"},
		"/var/mail/example.org/a..b c":  {Local: "a..b c", Domain: "example.org"},
		"/var/mail/[192.0.2.1]/b":       {Local: "b", Domain: "[192.0.2.1]"},
		"/var/mail/x/{domain}":          {Local: "{domain}", Domain: "x"}, // what is filled in is not looked at again
		"/var/mail/exámple.org/josé":    {Local: "josé", Domain: "exámple.org"},
		"/var/mail/example.org/$HOME~*": {Local: "$HOME~*", Domain: "example.org"},
	} {
		if got, err := maildir.Path(template, a); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", a, got, err, want)
		}
	}
}

func TestAFolderIsInsideItsMailbox(t *testing.T) {
	for _, f := range []string{".", "..", ".x", "x.", "a..b", "../x", "a/b", "/x", "a\x00", "a\n", strings.Repeat("a", 201)} {
		if got, err := maildir.FolderPath("/m/bob", f); !errors.Is(err, maildir.ErrBadMailbox) {
			t.Errorf("%q: got %q, %v; want ErrBadMailbox", f, got, err)
		}
	}
	for f, want := range map[string]string{"": "/m/bob", "Junk": "/m/bob/.Junk", "lists.go nuts": "/m/bob/.lists.go nuts"} {
		if got, err := maildir.FolderPath("/m/bob", f); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", f, got, err, want)
		}
	}
}
