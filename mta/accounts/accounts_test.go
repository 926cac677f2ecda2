package accounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// getent is a Source whose getent is a shell script, and which keeps nothing. Each run leaves its arguments in the file.
func getent(t *testing.T, script string) (s *Source, asked func() []string) {
	t.Helper()
	dir := t.TempDir()
	s = New(true)
	s.Program, s.keep = filepath.Join(dir, "getent"), 0
	if err := os.WriteFile(s.Program, []byte("#!/bin/sh\necho \"$*\" >>"+dir+"/asked\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s, func() []string {
		b, err := os.ReadFile(dir + "/asked")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

func TestWhatGetentSays(t *testing.T) {
	for _, c := range []struct{ name, script, want, why string }{
		{"nss-a", `echo 'nss-a:x:1:2:A,B:/home/a:/bin/bash'`, "nss-a 1 2 /home/a /bin/bash", ""},
		{"nss-a", `echo 'nss-a:x:4294967295:0::/:'`, "nss-a 4294967295 0 / ", ""},
		{"nss-a", `exit 2`, "", "unknown user"},
		{"Nss-A", `echo 'nss-a:x:1:2::/:/bin/sh'`, "", "unknown user"}, // another spelling: its own name is asked for next
		{"nss-a", `echo 'other:x:1:2::/:/bin/sh'`, "", "unknown user"}, // an alias is no name
		{"nss-a", `printf 'nss-a:x:1:2::/:/bin/sh'`, "", "no line of passwd"},
		{"nss-a", `printf 'nss-a:x:1:2::/:/bin/sh\nnss-a:x:3:3::/:/bin/sh\n'`, "", "no line of passwd"},
		{"nss-a", `echo 'nss-a:x:1:2::/'`, "", "no line of passwd"},
		{"nss-a", `echo 'nss-a:x:1:2:::'`, "", "no line of passwd"},
		{"nss-a", `echo 'nss-a:x:1:2::home/a:/bin/sh'`, "", "no line of passwd"},
		{"nss-a", `printf 'nss-a:x:1:2:\033[m:/:/bin/sh\n'`, "", "no line of passwd"},
		{"nss-a", `echo 'nss-a:x:-1:2::/:/bin/sh'`, "", "invalid syntax"},
		{"nss-a", `echo 'nss-a:x:4294967296:2::/:/bin/sh'`, "", "out of range"},
		{"nss-a", `exit 0`, "", "0 octets"},
		{"nss-a", `echo 'nss-a:x:1:2::/:/bin/sh'; exit 1`, "", "exit status 1"},
		{"nss-a", `kill -9 $$`, "", "signal: killed"},
		{"nss-a", `head -c 10000000 /dev/zero`, "", "1048576 octets"},
		{"nss-a", `env | grep -qE '^(HOME|USER)=' && exit 1; [ $PWD = / ] && echo 'nss-a:x:1:2::/:/bin/sh'`, "nss-a 1 2 / /bin/sh", ""},
	} {
		s, _ := getent(t, c.script)
		a, err := s.Lookup(t.Context(), c.name)
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s %d %d %s %s", a.Name, a.UID, a.GID, a.Home, a.Shell)
		}
		if got != c.want || (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %q, %v; want %q, %q", c.script, got, err, c.want, c.why)
		}
	}
}

// What no account is called is not asked for: getent would take it for a uid or an option.
func TestNamesThatAreNone(t *testing.T) {
	s, asked := getent(t, `echo 'daemon:x:1:1::/:/bin/sh'`)
	for _, name := range []string{"", "0", "20001", "-s", "--help", ".x", "a b", "a\nb", "a:b", "../a", "a@b", "bücher", strings.Repeat("x", 65)} {
		if a, err := s.Lookup(t.Context(), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: got %+v, %v; want nobody", name, a, err)
		}
	}
	if _, err := New(false).Lookup(t.Context(), "nss-a"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v without nss", err)
	}
	if got := asked(); len(got) != 1 || got[0] != "" {
		t.Errorf("asked for %q", got)
	}
}

// A name service that hangs holds up nobody of /etc/passwd, and not for long who may be its own.
func TestANameServiceThatHangs(t *testing.T) {
	s, asked := getent(t, `sleep 1000 & sleep 1000`)
	s.timeout, s.pause = 50*time.Millisecond, time.Hour
	if _, err := s.Lookup(t.Context(), "nss-a"); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "not answered for 50ms") {
		t.Errorf("got %v, want it given up", err)
	}
	for range 100 {
		if _, err := s.Lookup(t.Context(), "nss-b"); !errors.Is(err, errAway) {
			t.Fatalf("got %v, want %v", err, errAway)
		}
	}
	if a, err := s.Lookup(t.Context(), "daemon"); err != nil || a.UID != 1 {
		t.Errorf("daemon: got %+v, %v", a, err)
	}
	if got := asked(); len(got) > 1 {
		t.Errorf("asked for %q", got)
	}
	// It is asked again after the pause, and counts from then on.
	s, _ = getent(t, `echo 'nss-a:x:7:7::/:/bin/sh'`)
	s.away = time.Now().Add(-time.Second)
	if a, err := s.Lookup(t.Context(), "nss-a"); err != nil || a.UID != 7 || !s.away.IsZero() {
		t.Errorf("got %+v, %v, away %v", a, err, s.away)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lookup(ctx, "nss-a"); err == nil || errors.Is(err, ErrUnknown) || !s.away.IsZero() {
		t.Errorf("whoever asked is gone: got %v, away %v", err, s.away)
	}
}

// Whoever asked is gone at once; what it has begun has ended when the Source is closed, and that of the one before a reload too.
func TestWhatNobodyWaitsForHasEndedAtTheClose(t *testing.T) {
	dir := t.TempDir()
	before, _ := getent(t, "trap '' TERM HUP INT\nsleep 1000 &\necho $$ >"+dir+"/new; mv "+dir+"/new "+dir+"/pids; wait")
	var ended atomic.Bool
	before.Ended = func(int) { time.Sleep(50 * time.Millisecond); ended.Store(true) } // it may take its time
	s := before.With(false)
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan error, 1)
	go func() {
		_, err := before.Lookup(ctx, "nss-a")
		said <- err
	}()
	var pids []string
	for len(pids) == 0 {
		select {
		case err := <-said:
			t.Fatalf("it was not started: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		b, err := os.ReadFile(dir + "/pids")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		pids = strings.Fields(string(b))
	}
	cancel()
	if err := <-said; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.Close()
	if !ended.Load() {
		t.Error("it has not ended")
	}
	if pid, err := strconv.Atoi(pids[0]); err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("%v: getent is still there, %v", pids, err)
	}
}

// Who waits for a turn in vain, or does not wait for the answer, says nothing of the name service.
func TestANameServiceThatIsSlow(t *testing.T) {
	s, _ := getent(t, `sleep 1000`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Lookup(ctx, "nss-a"); !errors.Is(err, context.DeadlineExceeded) || !s.away.IsZero() {
		t.Errorf("who waits no longer: got %v, away %v", err, s.away)
	}
	s, asked := getent(t, `echo 'nss-a:x:7:7::/:/bin/sh'`)
	s.timeout = 20 * time.Millisecond
	for range maxTurns {
		s.turns <- struct{}{}
	}
	if _, err := s.Lookup(t.Context(), "nss-a"); !errors.Is(err, errBusy) || !s.away.IsZero() {
		t.Errorf("without a turn: got %v, away %v", err, s.away)
	}
	if got := asked(); len(got) != 1 || got[0] != "" {
		t.Errorf("asked for %q", got)
	}
}

// getent says of a service that was stopped what it says of a name that nobody has.
func TestANameServiceThatIsStopped(t *testing.T) {
	dir := t.TempDir()
	s, _ := getent(t, `[ -e `+dir+`/up ] && [ "$2" = nss-a ] && echo 'nss-a:x:7:7::/:/bin/sh' || exit 2`)
	up := filepath.Join(dir, "up")
	if err := os.WriteFile(up, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want error
	}{{"nss-b", ErrUnknown}, {"nss-a", nil}, {"nss-b", ErrUnknown}} {
		if _, err := s.Lookup(t.Context(), c.name); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if err := os.Remove(up); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nss-a", "nss-b"} {
		s := s.With(true) // as the configuration is read again
		if _, err := s.Lookup(t.Context(), name); !errors.Is(err, errLost) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s, stopped: got %v, want %v", name, err, errLost)
		}
	}
}

func TestASourceOfTheNextConfiguration(t *testing.T) {
	var none *Source
	both, files := none.With(true), none.With(false)
	if !both.nss || files.nss || both.With(true) != both || files.With(false) != files || both.With(false).nss || !files.With(true).nss {
		t.Error("it is another one though it says the same, or the same though it does not")
	}
}

func TestAnswersAreKeptBriefly(t *testing.T) {
	s, asked := getent(t, `[ "$2" = nss-a ] && echo 'nss-a:x:7:7::/:/bin/sh' || exit 2`)
	s.keep = time.Hour
	for range 3 {
		if _, err := s.Lookup(t.Context(), "nss-a"); err != nil {
			t.Error(err)
		}
		if _, err := s.Lookup(t.Context(), "nss-b"); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
	if got, want := asked(), []string{"passwd nss-a", "passwd nss-b"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

func TestGroupsAndUIDs(t *testing.T) {
	s, _ := getent(t, `case $1 in initgroups) echo 'nss-a    30000 30001';; *) echo 'nss-a:x:20001:7::/:/bin/sh';; esac`)
	a, err := s.LookupUID(t.Context(), 20001)
	if err != nil || a.Name != "nss-a" {
		t.Fatalf("got %+v, %v", a, err)
	}
	if groups, err := s.Groups(t.Context(), a); err != nil || !slices.Equal(groups, []uint32{30000, 30001}) {
		t.Errorf("got %v, %v", groups, err)
	}
	if a, err := s.LookupUID(t.Context(), 20002); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %+v, %v: another's", a, err)
	}
	// A name service that gives somebody a name of the files makes nobody who is in them of him.
	s, _ = getent(t, `echo 'daemon:x:20001:7::/:/bin/sh'`)
	if a, err := s.LookupUID(t.Context(), 20001); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %+v, %v: it is uid 1", a, err)
	}
	for _, says := range []string{"other 1", "nss-a x", "nss-a -1", "nss-a 4294967296", "''"} {
		s, _ := getent(t, "echo "+says)
		if groups, err := s.Groups(t.Context(), a); err == nil {
			t.Errorf("%s: got %v, want an error", says, groups)
		}
	}
}
