package checkpassword_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/checkpassword"
)

// program is a shell script that is given a file's path as its first argument.
func program(t *testing.T, script string) (p checkpassword.Program, file string) {
	t.Helper()
	dir := t.TempDir()
	path, file := filepath.Join(dir, "checkpassword"), filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return checkpassword.Program{Command: []string{path, file}}, file
}

func TestDescriptor3HasLoginPasswordAndTimestamp(t *testing.T) {
	p, file := program(t, `cat <&3 >"$1"; shift; exec "$@"`)
	if err := p.Check(t.Context(), "bob@example.org", "pass wörd\n"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile("^bob@example.org\x00pass wörd\n\x00[0-9]+\x00$").Match(b) {
		t.Errorf("got %q, %v", b, err)
	}
}

// The interface carries 512 octets, of fields that end at the first octet 0.
func TestWhatTheInterfaceCannotCarryIsNobodysPassword(t *testing.T) {
	p, file := program(t, `touch "$1"; exit 0`)
	for _, c := range []struct{ login, password string }{
		{"", "x"}, {"bob", ""}, {"bob", "x\x00y"}, {"bob\x00x", "y"}, {"bob", strings.Repeat("x", 508)}, {strings.Repeat("x", 600), "y"},
	} {
		if err := p.Check(t.Context(), c.login, c.password); !errors.Is(err, mta.ErrCredentials) {
			t.Errorf("%.20q %.20q: got %v, want %v", c.login, c.password, err, mta.ErrCredentials)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the program was asked")
	}
}

func TestWhatTheProgramSays(t *testing.T) {
	for _, c := range []struct {
		script string
		want   string // "" is yes, "no" is no, all else a part of the error
	}{
		{"exit 0", ""},
		{"exit 1", "no"},
		{"exit 2", "not used rightly (exit status 2)"},
		{"exit 111", "cannot tell for the moment (exit status 111)"},
		{"exit 100", "exit status 100, which means nothing"},
		{"kill -SEGV $$", "signal: segmentation fault"},
		{"echo a; echo b >&2; exit 111", "; it says: a b"},
		{"tr '\\0' '\\n' <&3; exit 111", "holds the password and is not shown"},
		{"head -c 495 /dev/zero | tr '\\0' .; tr '\\0' '\\n' <&3; exit 111", "holds the password and is not shown"},
		{"exec yes 2>&1 | head -c 2000000; exit 111", "y y"},
	} {
		p, _ := program(t, c.script)
		err := p.Check(t.Context(), "bob", "pass:word")
		switch {
		case c.want == "" && err == nil, c.want == "no" && errors.Is(err, mta.ErrCredentials):
		case c.want == "" || c.want == "no" || err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, mta.ErrCredentials):
			t.Errorf("%s: got %v, want %q", c.script, err, c.want)
		case strings.Contains(err.Error(), "pass") && !strings.Contains(err.Error(), "password and is not shown") && strings.Contains(err.Error(), "pass:"), len(err.Error()) > 1000:
			t.Errorf("%s: got %v: too much of it", c.script, err)
		}
	}
	err := checkpassword.Program{Command: []string{"/nowhere/checkpassword"}}.Check(t.Context(), "bob", "x")
	if err == nil || !strings.Contains(err.Error(), "/nowhere/checkpassword cannot be started") || !strings.Contains(err.Error(), "users.checkpassword.command") {
		t.Errorf("got %v, want what to do", err)
	}
}

// TestAProgramThatHangsIsKilledWithItsGroup waits for the end of a FIFO, which comes when the last process that has it open
// for writing is gone.
func TestAProgramThatHangsIsKilledWithItsGroup(t *testing.T) {
	for name, given := range map[string]struct {
		limit time.Duration
		want  string
	}{"by its time": {50 * time.Millisecond, "killed after 50ms"}, "by who asks": {time.Hour, context.Canceled.Error()}} {
		t.Run(name, func(t *testing.T) {
			p, fifo := program(t, `exec 9>"$1"; trap "" TERM; sleep 1000 & echo >&9; wait`)
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(fifo, os.O_RDWR, 0) // so that neither waits for the other
			if err != nil {
				t.Fatal(err)
			}
			read, err := os.Open(fifo)
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			p.Timeout = given.limit
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if given.limit == time.Hour {
				go func() {
					_, _ = read.Read(make([]byte, 1)) // it hangs
					cancel()
				}()
			}
			err = p.Check(ctx, "bob", "x")
			if err == nil || !strings.Contains(err.Error(), given.want) || errors.Is(err, mta.ErrCredentials) {
				t.Errorf("got %v, want %q", err, given.want)
			}
			f.Close()
			if _, err := io.ReadAll(read); err != nil {
				t.Fatal(err)
			}
		})
	}
}
