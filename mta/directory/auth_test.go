package directory_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Verifiers of the password "a", as cheap as their schemes allow.
const (
	cheapBcrypt = "{BCRYPT}$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"
	otherBcrypt = "{BCRYPT}$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s." // of ""
)

// clock is a clock that tests set.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func open(t *testing.T, path string, opt directory.Options) *directory.File {
	t.Helper()
	f, err := directory.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEveryRefusalIsTheSameErrorAfterTheSameWork(t *testing.T) {
	path := usersFile(t, "alice@example.org "+cheapBcrypt+"\nbob@example.org "+cheapBcrypt+" disabled=yes\n"+
		"carol@example.org {PLAIN}c\nnobody@example.org forward=alice@example.org\ndan@example.org "+otherBcrypt+"\n")
	f := open(t, path, directory.Options{})
	var checks []string
	f.CountChecks(func(cost string) { checks = append(checks, cost) })
	for _, c := range []struct{ name, login, password string }{
		{"wrong password", "alice@example.org", "b"},
		{"unknown user", "mallory@example.org", "a"},
		{"unknown domain", "alice@example.net", "a"},
		{"disabled user, right password", "bob@example.org", "a"},
		{"disabled user, wrong password", "bob@example.org", "b"},
		{"user without a verifier", "nobody@example.org", "a"},
		{"empty password", "alice@example.org", ""},
		{"empty password that the verifier takes", "dan@example.org", ""},
	} {
		checks = nil
		got, err := f.Authenticate(t.Context(), c.login, c.password)
		if !errors.Is(err, mta.ErrCredentials) || err.Error() != mta.ErrCredentials.Error() || got != "" {
			t.Errorf("%s: got %q, error %v; want the bare mta.ErrCredentials", c.name, got, err)
		}
		if want := []string{"BCRYPT 06"}; !slices.Equal(checks, want) {
			t.Errorf("%s: got checks %q, want %q", c.name, checks, want)
		}
	}
}

func TestUnknownUserOfAnEmptyFileCostsTheDefaultScheme(t *testing.T) {
	f := open(t, usersFile(t, "# none yet\n"), directory.Options{})
	var checks []string
	f.CountChecks(func(cost string) { checks = append(checks, cost) })
	if _, err := f.Authenticate(t.Context(), "alice@example.org", "a"); !errors.Is(err, mta.ErrCredentials) {
		t.Errorf("got error %v, want ErrCredentials", err)
	}
	if want := []string{"ARGON2ID 19456 2 1"}; !slices.Equal(checks, want) {
		t.Errorf("got checks %q, want %q", checks, want)
	}
}

func TestPasswordsThatNoUserCanHaveCostNothing(t *testing.T) {
	f := open(t, usersFile(t, "alice@example.org {PLAIN}a\n"), directory.Options{})
	f.CountChecks(func(string) { t.Error("a check was made") })
	for _, c := range [][2]string{
		{"alice@example.org", strings.Repeat("a", directory.MaxPassword+1)},
		{"alice@example.org", "a\x00"},
		{strings.Repeat("a", 300) + "@example.org", "a"},
		{"alice", "a"}, // no default domain
		{"", "a"},
	} {
		if _, err := f.Authenticate(t.Context(), c[0], c[1]); !errors.Is(err, mta.ErrCredentials) {
			t.Errorf("%.20q: got error %v, want ErrCredentials", c[0], err)
		}
	}
}

func TestLoginsFindTheirUser(t *testing.T) {
	path := usersFile(t, "Alice@example.org {PLAIN}a "+cheapBcrypt+"\nbob@example.org {SCRAM-SHA-256}"+pencil+" {PLAIN}b\n"+
		"grüße@example.org {PLAIN}Grüße\ncarol@example.org {SCRAM-SHA-256}"+pencil+"\n")
	f := open(t, path, directory.Options{DefaultDomain: "example.org", DomainAlias: map[string]string{"example.com": "example.org"}})
	for _, c := range []struct{ login, password, want string }{
		{"Alice@example.org", "a", "Alice@example.org"},
		{"alice@EXAMPLE.org", "a", "Alice@example.org"},
		{"ALICE", "a", "Alice@example.org"},
		{"alice@example.com", "a", "Alice@example.org"},
		{"bob", "b", "bob@example.org"},
		{"gru\u0308\u00dfe", "Gr\u00fc\u00dfe", "grüße@example.org"},             // a name with ü as two characters
		{"\uff42\uff4f\uff42", "b", "bob@example.org"},                           // in full width
		{"gr\u00fc\u00dfe@example.org", "Gru\u0308\u00dfe", "grüße@example.org"}, // a password with ü as two
		{"carol", "pencil", "carol@example.org"},                                 // a SCRAM verifier takes a password too
		{"carol", "p\u00adencil", "carol@example.org"},                           // as its client would prepare it: without a soft hyphen
	} {
		if got, err := f.Authenticate(t.Context(), c.login, c.password); err != nil || got != c.want {
			t.Errorf("%s: got %q, error %v; want %q", c.login, got, err, c.want)
		}
	}
	u, err := f.Lookup(t.Context(), address(t, "alice@example.com"))
	if err != nil || u.Address.String() != "Alice@example.org" {
		t.Errorf("lookup: got %v, error %v", u.Address, err)
	}
	if _, err := f.Lookup(t.Context(), address(t, "älice@example.org")); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("lookup of nobody: got error %v, want ErrUnknown", err)
	}
}

func TestSuccessIsRememberedUntilItExpiresOrTheVerifierChanges(t *testing.T) {
	var c clock
	path := usersFile(t, "alice@example.org "+cheapBcrypt+"\n")
	f := open(t, path, directory.Options{Now: c.now})
	checks := 0
	f.CountChecks(func(string) { checks++ })
	login := func(password string, wantOK bool, wantChecks int, when string) {
		t.Helper()
		checks = 0
		_, err := f.Authenticate(t.Context(), "alice@example.org", password)
		if (err == nil) != wantOK || checks != wantChecks {
			t.Errorf("%s: got error %v after %d checks; want success %v after %d", when, err, checks, wantOK, wantChecks)
		}
	}
	login("a", true, 1, "first login")
	login("a", true, 0, "second login")
	login("b", false, 1, "wrong password after a success")
	login("b", false, 1, "wrong password again")
	c.advance(4 * time.Minute)
	login("a", true, 0, "after four minutes")
	c.advance(time.Minute)
	login("a", true, 1, "after five minutes, used or not")

	rewrite(t, path, "alice@example.org "+otherBcrypt+"\n")
	c.advance(time.Second)
	login("a", false, 1, "after the verifier changed")
	rewrite(t, path, "alice@example.org "+cheapBcrypt+" disabled=yes\n")
	c.advance(time.Second)
	login("a", false, 1, "after the user was disabled")
	rewrite(t, path, "# nobody\n")
	c.advance(time.Second)
	login("a", false, 1, "after the user was removed")
}

func TestMemoryOfSuccessesIsBounded(t *testing.T) {
	var b bytes.Buffer
	for i := range 10_100 {
		b.WriteString("u" + string(rune('a'+i%26)) + strings.Repeat("x", i/26%60) + string(rune('a'+i/1560)) + "@example.org {PLAIN}p\n")
	}
	var c clock // stands still: nothing runs out meanwhile
	f := open(t, usersFile(t, b.String()), directory.Options{Now: c.now})
	for line := range strings.Lines(b.String()) {
		login, _, _ := strings.Cut(line, " ")
		if _, err := f.Authenticate(t.Context(), login, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.Cached(); got != 10_000 {
		t.Errorf("got %d remembered, want 10000", got)
	}
}

func TestChecksAtOnceAreBoundedAndWaitingEndsWithTheContext(t *testing.T) {
	path := usersFile(t, "alice@example.org {PLAIN}a\n")
	synctest.Test(t, func(t *testing.T) {
		f := open(t, path, directory.Options{MaxChecks: 2})
		var running, most atomic.Int32
		goOn := make(chan struct{})
		f.CountChecks(func(string) {
			most.Store(max(most.Load(), running.Add(1)))
			<-goOn
			running.Add(-1)
		})
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := f.Authenticate(t.Context(), "alice@example.org", "wrong"); !errors.Is(err, mta.ErrCredentials) {
					t.Errorf("got error %v, want ErrCredentials", err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.Authenticate(ctx, "alice@example.org", "a")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, mta.ErrCredentials) {
			t.Errorf("full: got error %v, want the context's", err)
		}
		close(goOn)
		all.Wait()
		if most.Load() != 2 {
			t.Errorf("got %d checks at once, want 2", most.Load())
		}
	})
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestChangesAreSeenWithinASecondAndFaultyOnesAreReportedOnce(t *testing.T) {
	var c clock
	var log bytes.Buffer
	path := usersFile(t, "alice@example.org {PLAIN}a\n")
	f := open(t, path, directory.Options{Now: c.now, Log: maillog.New(maillog.NewText(&log, slog.LevelInfo))})
	known := func(who string, want bool, when string) {
		t.Helper()
		if _, err := f.Lookup(t.Context(), address(t, who)); (err == nil) != want {
			t.Errorf("%s: %s known: got %v, want %v", when, who, err == nil, want)
		}
	}
	rewrite(t, path, "alice@example.org {PLAIN}a\nbob@example.org {PLAIN}b\n")
	known("bob@example.org", false, "at once")
	f.Recheck()
	known("bob@example.org", true, "when it is to be looked at")
	rewrite(t, path, "alice@example.org {PLAIN}a\nbob@example.org {PLAIN}bb\n")
	c.advance(time.Second)
	known("bob@example.org", true, "after a second")

	rewrite(t, path, "carol@example.org {PLAIN}c\nbob@example.org {NONE}b\n")
	for range 3 {
		c.advance(time.Second)
		known("alice@example.org", true, "with a faulty file")
		known("carol@example.org", false, "with a faulty file")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.advance(time.Second)
		known("alice@example.org", true, "without a file")
	}
	rewrite(t, path, "carol@example.org {PLAIN}c\n")
	c.advance(time.Second)
	known("carol@example.org", true, "with a mended file")
	known("alice@example.org", false, "with a mended file")

	if got := strings.Count(log.String(), "event=users-refused"); got != 2 || !strings.Contains(log.String(), path+":2: unknown scheme") {
		t.Errorf("got %d refusals, want 2 (a fault with its line, a missing file):\n%s", got, &log)
	}
	if got := strings.Count(log.String(), "event=users-reloaded"); got != 3 {
		t.Errorf("got %d reloads, want 3:\n%s", got, &log)
	}
}

func TestFileWithItsVerifiersDroppedKnowsUsersAndChecksNothing(t *testing.T) {
	f := open(t, usersFile(t, "alice@example.org {PLAIN}a\n"), directory.Options{DropVerifiers: true})
	u, err := f.Lookup(t.Context(), address(t, "alice@example.org"))
	if err != nil || len(u.Schemes) != 0 {
		t.Errorf("got schemes %q, error %v; want none", u.Schemes, err)
	}
	if _, err := f.Authenticate(t.Context(), "alice@example.org", "a"); err == nil || errors.Is(err, mta.ErrCredentials) {
		t.Errorf("got error %v, want one that is not the user's fault", err)
	}
}

func TestManyGoroutinesMayAskWhileTheFileChanges(t *testing.T) {
	var c clock
	path := usersFile(t, "alice@example.org {PLAIN}a\n")
	f := open(t, path, directory.Options{Now: c.now})
	var all sync.WaitGroup
	for range 2 * runtime.NumCPU() {
		all.Go(func() {
			for range 200 {
				if got, err := f.Authenticate(t.Context(), "alice@example.org", "a"); err != nil || got != "alice@example.org" {
					t.Errorf("got %q, error %v", got, err)
				}
				c.advance(time.Second / 4)
			}
		})
	}
	for range 50 {
		err := directory.Update(t.Context(), path, func(l *directory.Lines) error {
			if err := l.Add(address(t, "x@example.org")); err == nil {
				return nil
			}
			return l.Remove(address(t, "x@example.org"))
		})
		if err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}
