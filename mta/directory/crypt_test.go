package directory_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/directory"
)

const sha512 = `$6$saltsalt$0ud0GyxDUk3izoJj6ugH7U4CT0EYQkpJ4kjrHLOIK80sMg6n8WV/fzKdcELHwnsjtLUENi6ucERJbPE5idCjR.`

// The hashes are crypt(3)'s of glibc and libxcrypt.
func TestHashesOfTheMachinesAccounts(t *testing.T) {
	const password = "secret wörd"
	for name, hash := range map[string]string{
		"yescrypt": `$y$j9T$saltsaltsalt$mxvrF4ddMAtAnG6kitZUHvuYcaODJcc/GYOeEVobER2`,
		"SHA-512":  sha512,
		"SHA-256":  `$5$saltsalt$qwHwi.EhL/ilcQBvvelovCpvlt8BZIPvGkvUINQ748D`,
		"bcrypt":   `$2b$05$abcdefghijklmnopqrstuuyuchgoY8tOcDZOZi0J5lmYMctbD7Gs2`,
	} {
		for try, want := range map[string]bool{password: true, "secret": false, "": false, password + "\x00": false} {
			if ok, err := directory.MatchCrypt(hash, "", try); ok != want || err != nil {
				t.Errorf("%s, %q: got %v, %v; want %v", name, try, ok, err, want)
			}
		}
	}
	for _, hash := range []string{
		"x", "!", "*", "ab01FAX.bQRSU", `$1$saltsalt$1JKuRokqPHXruCETfgL810`, `$5$rounds=999999999$saltsalt$qwHwi.EhL/ilcQBvvelovCpvlt8BZIPvGkvUINQ748D`,
		`$y$jzz$saltsaltsalt$mxvrF4ddMAtAnG6kitZUHvuYcaODJcc/GYOeEVobER2`, `$6$rounds=999999999$x$` + strings.Repeat("a", 86), `$6$`,
	} {
		if ok, err := directory.MatchCrypt(hash, "", password); ok || err == nil || strings.Contains(err.Error(), hash) && len(hash) > 1 {
			t.Errorf("%s: got %v, %v; want an error that does not quote it", hash, ok, err)
		}
	}
	for _, dummy := range []string{"", sha512} {
		for _, try := range []string{"", password} {
			if ok, err := directory.MatchCrypt("", dummy, try); ok || err != nil {
				t.Errorf("no hash, dummy %q, %q: got %v, %v; want a no", dummy, try, ok, err)
			}
		}
	}
}

// Nobody's password costs what that of most accounts costs, so that the time does not tell who has one.
func TestHashOfNobody(t *testing.T) {
	const bcrypt, other = `$2b$05$abcdefghijklmnopqrstuuyuchgoY8tOcDZOZi0J5lmYMctbD7Gs2`, `$2b$06$abcdefghijklmnopqrstuuyuchgoY8tOcDZOZi0J5lmYMctbD7Gs2`
	for _, c := range []struct {
		hashes []string
		want   string
	}{
		{nil, ""},
		{[]string{"", "*", "!", "!!", "!" + sha512, "$6$", "x"}, ""},
		{[]string{"*", bcrypt, "!", sha512, sha512}, sha512},
		{[]string{sha512, bcrypt, other, bcrypt}, bcrypt},
	} {
		if got := directory.CommonCrypt(c.hashes); got != c.want {
			t.Errorf("%q: got %q, want %q", c.hashes, got, c.want)
		}
	}
}
