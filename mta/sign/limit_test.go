package sign_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/sign"
)

func TestHeadersThatTakeTooLong(t *testing.T) {
	folded := func(line string, n int) string { return "To: " + strings.Repeat(line+"\r\n ", n) + "x\r\n" }
	for _, c := range []struct {
		name   string
		header []string
		bad    bool
	}{
		{"a million short lines", []string{folded("x", 1<<20)}, true},
		{"many long lines", []string{folded(strings.Repeat("x", 900), 4000)}, true},
		{"more fields than anyone has", slices.Repeat([]string{"A: b\r\n"}, 2001), true},
		{"a signature that covers thousands of names", []string{"DKIM-signature : v=1; h=" + strings.Repeat("a:", 9000) + "\r\n"}, true},
		{"many fields", slices.Repeat([]string{"A: b\r\n"}, 2000), false},
		{"10,000 addresses", []string{folded(strings.Repeat("x", 36)+",", 10000)}, false},
		{"one long line", []string{"A: " + strings.Repeat("x", 1<<20) + "\r\n"}, false},
		{"nothing", nil, false},
	} {
		if err := sign.Check(c.header); errors.Is(err, sign.ErrHead) != c.bad || err != nil && !c.bad {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
