package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/stringprep"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

const (
	// pencil is a verifier of the example in RFC 7677, its keys made by Python's hashlib.
	pencil = "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	key32  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	// scramUsers can all log in by SCRAM, save bob, who may not log in, and list, who has no password.
	scramUsers = "* salt_key=" + key32 + "\nalice@example.org {BCRYPT}$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe {SCRAM-SHA-256}" + pencil +
		"\nbob@example.org {SCRAM-SHA-256}" + pencil + " disabled=yes\nlist@example.org forward=alice@example.org\n"
)

func mustScram(t *testing.T, f *directory.File, login string) (string, mta.ScramVerifier) {
	t.Helper()
	identity, v, err := f.Scram(t.Context(), login)
	if err != nil {
		t.Fatalf("%s: %v", login, err)
	}
	return identity, v
}

func TestLoginsWhoMayNotComeInLookLikeOneWhoMay(t *testing.T) {
	opt := directory.Options{DefaultDomain: "example.org", DomainAlias: map[string]string{"example.com": "example.org"}}
	f := open(t, usersFile(t, scramUsers), opt)
	identity, alice := mustScram(t, f, "ALICE")
	if identity != "alice@example.org" || fmt.Sprintf("%x", alice.Salt) != "5b6d99689d12358eeca04b141236fa81" || alice.Iterations != 4096 || alice.StoredKey[0] != 0x58 || alice.ServerKey[0] != 0xc1 {
		t.Errorf("alice: got %q, %+v", identity, alice)
	}
	// The same file in another program, a file that has changed since, and one with another key.
	again := open(t, usersFile(t, scramUsers), opt)
	later := open(t, usersFile(t, scramUsers+"carol@example.org {SCRAM-SHA-256}"+pencil+"\n"), opt)
	other := open(t, usersFile(t, strings.Replace(scramUsers, "MDEy", "MDEz", 1)), opt)
	salts := map[string]string{string(alice.Salt): "alice"}
	for _, login := range []string{"bob", "list", "mallory", "mallory@example.net", "no login at all", "", strings.Repeat("x", 5000), "x\x00y"} {
		identity, v := mustScram(t, f, login)
		if identity != "" || len(v.Salt) != len(alice.Salt) || v.Iterations != alice.Iterations {
			t.Errorf("%.20q: got %q, %+v; want nobody in the form of alice's", login, identity, v)
		}
		if who := salts[string(v.Salt)]; who != "" || v.StoredKey == v.ServerKey || v.StoredKey == [32]byte{} {
			t.Errorf("%.20q: the salt of %q", login, who)
		}
		salts[string(v.Salt)] = login
		for name, g := range map[string]*directory.File{"again": again, "later": later} {
			if _, w := mustScram(t, g, login); !bytes.Equal(w.Salt, v.Salt) {
				t.Errorf("%.20q, %s: got another salt", login, name)
			}
		}
		if _, w := mustScram(t, other, login); bytes.Equal(w.Salt, v.Salt) {
			t.Errorf("%.20q: got the same salt from another key", login)
		}
	}
	// What finds the same user has the same salt, as it has for a user who is there.
	for _, names := range [][2]string{{"mallory", "MALLORY@Example.COM"}, {"b\u00f6b", "bo\u0308b@example.org"}, {"mallory", "\uff4dallory"}} {
		_, v := mustScram(t, f, names[0])
		if _, w := mustScram(t, f, names[1]); !bytes.Equal(w.Salt, v.Salt) {
			t.Errorf("%q: got other salts", names)
		}
	}
}

// TestUnknownLoginsHaveTheFormThatMostHave, and without a user the form of new verifiers.
func TestUnknownLoginsHaveTheFormThatMostHave(t *testing.T) {
	two := strings.NewReplacer("4096", "5000", "W22ZaJ0SNY7soEsUEjb6gQ==", "c2FsdA==").Replace(pencil)
	for _, c := range []struct {
		users        string
		rounds, salt int
	}{
		{"", 100_000, 16},
		{"a@example.org {SCRAM-SHA-256}" + pencil + "\nb@example.org {SCRAM-SHA-256}" + two + "\nc@example.org {SCRAM-SHA-256}" + two + "\n", 5000, 4},
	} {
		f := open(t, usersFile(t, c.users), directory.Options{})
		_, v := mustScram(t, f, "mallory")
		if _, w := mustScram(t, f, "mallory"); v.Iterations != c.rounds || len(v.Salt) != c.salt || !bytes.Equal(v.Salt, w.Salt) {
			t.Errorf("got %d rounds, salts %x and %x; want %d, and the same of %d octets", v.Iterations, v.Salt, w.Salt, c.rounds, c.salt)
		}
	}
}

func TestScramIsOfferedToThoseWhoCanUseIt(t *testing.T) {
	mixed := scramUsers + "carol@example.org {PLAIN}c\n"
	for _, c := range []struct {
		users, when string
		want        bool
	}{
		{scramUsers, "", true}, {scramUsers, directory.ScramAuto, true}, {scramUsers, directory.ScramNever, false},
		{mixed, directory.ScramAuto, false}, {mixed, directory.ScramAlways, true}, {"", directory.ScramAuto, true},
	} {
		for _, noPlus := range []bool{false, true} {
			f := open(t, usersFile(t, c.users), directory.Options{Scram: c.when, NoScramPlus: noPlus})
			if got, plus := f.OffersScram(); got != c.want || got && plus == noPlus {
				t.Errorf("%q, %d octets of users, not -PLUS %v: got %v, %v; want %v", c.when, len(c.users), noPlus, got, plus, c.want)
			}
		}
	}
	f := open(t, usersFile(t, scramUsers), directory.Options{DropVerifiers: true, Scram: directory.ScramAlways})
	offered, _ := f.OffersScram()
	if _, _, err := f.Scram(t.Context(), "alice@example.org"); offered || err == nil || errors.Is(err, mta.ErrTransition) {
		t.Errorf("without verifiers: got offered %v, error %v", offered, err)
	}
}

// TestTransitionTellsNothingOfWhoExists: where a third of the users has no verifier, so has a third of all others.
func TestTransitionTellsNothingOfWhoExists(t *testing.T) {
	f := open(t, usersFile(t, scramUsers+"carol@example.org {PLAIN}c\ndan@example.org {SCRAM-SHA-256}"+pencil+"\n"), directory.Options{Scram: directory.ScramAlways})
	if _, _, err := f.Scram(t.Context(), "carol@example.org"); !errors.Is(err, mta.ErrTransition) {
		t.Errorf("carol: got error %v, want ErrTransition", err)
	}
	n := 0
	for i := range 3000 {
		login := fmt.Sprintf("u%d@example.org", i)
		_, _, err := f.Scram(t.Context(), login)
		if _, _, again := f.Scram(t.Context(), login); again != err {
			t.Errorf("%s: got error %v, then %v", login, err, again)
		}
		if errors.Is(err, mta.ErrTransition) {
			n++
		}
	}
	if n < 900 || n > 1100 {
		t.Errorf("got ErrTransition for %d of 3000, want about 1000", n)
	}
}

// TestAPasswordIsCheckedOnce: a verifier for SCRAM beside another is not tried with it.
func TestAPasswordIsCheckedOnce(t *testing.T) {
	path := usersFile(t, scramUsers+"dora@example.org {SCRAM-SHA-256}"+pencil+" {PLAIN}d\neve@example.org {SCRAM-SHA-256}"+pencil+"\n")
	f := open(t, path, directory.Options{})
	for _, c := range [][2]string{{"alice", "BCRYPT 06"}, {"dora", "PLAIN"}, {"eve", "SCRAM-SHA-256 4096"}} {
		var checks []string
		f.CountChecks(func(cost string) { checks = append(checks, cost) })
		if _, err := f.Authenticate(t.Context(), c[0]+"@example.org", "wrong"); !errors.Is(err, mta.ErrCredentials) || len(checks) != 1 || checks[0] != c[1] {
			t.Errorf("%s: got checks %q, error %v; want %q", c[0], checks, err, c[1])
		}
		f = open(t, path, directory.Options{})
	}
}

func TestFirstScramVerifierBringsTheSaltKey(t *testing.T) {
	path := usersFile(t, "# mine\nalice@example.org {PLAIN}a")
	verifier := "{SCRAM-SHA-256}" + pencil
	for _, change := range []func(*directory.Lines) error{
		func(l *directory.Lines) error { return l.Add(address(t, "bob@example.org")) },
		func(l *directory.Lines) error {
			return l.SetVerifiers(address(t, "alice@example.org"), "{PLAIN}a", verifier)
		},
		func(l *directory.Lines) error { return l.Add(address(t, "carol@example.org"), verifier) },
	} {
		if err := update(t, path, change); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(content(t, path), "\n")
	key := ""
	if len(lines) == 6 {
		key, lines[3] = lines[3], "(key)"
	}
	want := "# mine\nalice@example.org {PLAIN}a " + verifier + "\nbob@example.org\n(key)\ncarol@example.org " + verifier + "\n"
	if got := strings.Join(lines, "\n"); got != want || !strings.HasPrefix(key, "* salt_key=") {
		t.Fatalf("got %s\nand key %q; want %s", got, key, want)
	}
	f, g := open(t, path, directory.Options{}), open(t, path, directory.Options{})
	_, v := mustScram(t, f, "mallory")
	if _, w := mustScram(t, g, "mallory"); !bytes.Equal(v.Salt, w.Salt) || f.Users() != 3 {
		t.Errorf("got salts %x and %x, %d users; want the same, and 3", v.Salt, w.Salt, f.Users())
	}
	if all, err := directory.List(path); err != nil || len(all) != 3 {
		t.Errorf("list: got %d users, error %v", len(all), err)
	}
}

// TestPasswordsArePrepared has the examples of RFC 4013 section 3, and what its rules do not take.
func TestPasswordsArePrepared(t *testing.T) {
	for _, c := range [][2]string{
		{"I\u00adX", "IX"}, {"user", "user"}, {"USER", "USER"}, {"\u00aa", "a"}, {"\u2168", "IX"},
		{"\u0007", "\u0007"}, {"\u06271", "\u06271"}, // prohibited, and of two directions: as it is
		{"gr\u00fc\u00df\u00a0e", "gr\u00fc\u00df e"}, {"gru\u0308n", "gr\u00fcn"},
		{"\U0001f600", "\U0001f600"}, // younger than Unicode 3.2
		{"\u00ad", "\u00ad"},         // nothing would be left
	} {
		if got := directory.SASLPrep(c[0]); got != c[1] {
			t.Errorf("%+q: got %+q, want %+q", c[0], got, c[1])
		}
	}
	if p := stringprep.SASLprep.Prohibits; len(p) != 11 || len(p[0]) != len(stringprep.TableA1) || p[0][0] != stringprep.TableA1[0] {
		t.Error("the first of the library's prohibited tables is not that of unassigned characters")
	}
}
