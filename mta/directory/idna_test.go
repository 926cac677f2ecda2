package directory_test

import (
	"errors"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// Routing asks in A-labels, mail programs log in with either form, and the operator may write either into the file.
func TestUsersAreFoundInEitherFormOfTheirDomain(t *testing.T) {
	f := open(t, usersFile(t, "ute@bücher.test {PLAIN}u send_as=@bücher.test\nale@xn--bcher-kva.test {PLAIN}a\n"),
		directory.Options{DomainAlias: map[string]string{"xn--tter-4qa.test": "xn--bcher-kva.test"}})
	for _, c := range []struct {
		asked mta.Address
		want  string // "" = unknown
	}{
		{mta.Address{Local: "ute", Domain: "xn--bcher-kva.test"}, "ute@bücher.test"},
		{mta.Address{Local: "UTE", Domain: "bücher.test"}, "ute@bücher.test"},
		{mta.Address{Local: "ale", Domain: "bücher.test"}, "ale@xn--bcher-kva.test"},
		{mta.Address{Local: "ale", Domain: "ötter.test"}, "ale@xn--bcher-kva.test"},
		{mta.Address{Local: "ale", Domain: "xn--tter-4qa.test"}, "ale@xn--bcher-kva.test"},
		{mta.Address{Local: "ale", Domain: "bucher.test"}, ""},
		{mta.Address{Local: "ale", Domain: "☃\u2028.test"}, ""}, // has no A-labels
	} {
		u, err := f.Lookup(t.Context(), c.asked)
		if got := u.Address.String(); c.want == "" && !errors.Is(err, directory.ErrUnknown) || c.want != "" && (err != nil || got != c.want) {
			t.Errorf("Lookup(%s): got %q, %v; want %q", c.asked, got, err, c.want)
		}
	}
	u, err := f.Lookup(t.Context(), mta.Address{Local: "ute", Domain: "bücher.test"})
	if err != nil {
		t.Fatal(err)
	}
	if sender := (mta.Address{Local: "info", Domain: "xn--bcher-kva.test"}); !u.MaySendAs(sender) {
		t.Errorf("MaySendAs(%s): got no, want yes by send_as=@bücher.test", sender)
	}
}

func TestOneUserInBothFormsOfTheDomainIsAFault(t *testing.T) {
	path := usersFile(t, "ute@bücher.test {PLAIN}u\nute@xn--bcher-kva.test {PLAIN}u\n")
	if _, err := directory.Open(path, directory.Options{}); err == nil {
		t.Error("got no error, want that the user is there already")
	}
}
