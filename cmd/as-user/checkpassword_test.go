package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
)

// byProgram has as-user ask the program that stands in for a checkpassword program.
const byProgram = "[mailboxes]\nsystem_passwords = \"checkpassword\"\n[users.checkpassword]\ncommand = [\"DIR/bin/checkpassword\", \"an argument\"]\n"

func TestPasswordsThroughPAM(t *testing.T) {
	needPAM(t)
	program, err := filepath.Abs("../../contrib/checkpassword/checkpassword-pam")
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, strings.Replace(byProgram, `"DIR/bin/checkpassword", "an argument"`, fmt.Sprintf(`%q, "posthouse"`, program), 1))
	m.wantPasswords(attempt{"md5", password, nil}, // libcrypt knows more than we do
		attempt{"alice", strings.Repeat("x", 1000), mta.ErrCredentials})
	// Fedora's file, which not even its owner may read.
	if err := os.Chmod(filepath.Join(m.dir, "etc/shadow"), 0); err != nil {
		t.Fatal(err)
	}
	if err := m.client.Check(t.Context(), "alice", password); err != nil {
		t.Errorf("with a shadow file of mode 0000: got %v", err)
	}
	m.await("event=as-user-checked", "user=bob")
	m.await("event=as-user-refused", "op=check", "user=stranger", "reason=password")
	if s := m.log.String(); strings.Contains(s, "wörd") {
		t.Errorf("the log has a password:\n%s", s)
	}
}

// TestWhatACheckpasswordProgramHas is what SECURITY in as-user.8 says.
func TestWhatACheckpasswordProgramHas(t *testing.T) {
	m := start(t, byProgram)
	err := m.client.Check(t.Context(), "alice", `cd "${0%/*}/.."; { id -u; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; env | sort; echo "$@"; ulimit -c; for f in /proc/$$/fd/*; do readlink $f; done; }  >seen 2>&1; tr '\0' ' ' </proc/$$/cmdline >>seen; exit 0`)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(m.dir, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	read := fmt.Sprintf("%016x", 1<<unix.CAP_DAC_READ_SEARCH|1<<unix.CAP_SETUID|1<<unix.CAP_SETGID)
	none := "0000000000000000"
	got := strings.Join(strings.Fields(string(b)), " ")
	want := "0 CapInh: " + read + " CapPrm: " + read + " CapEff: " + read + " CapBnd: " + none + " CapAmb: " + none + " NoNewPrivs: 1 " +
		"LANG=C.UTF-8 OLDPWD=/ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PWD=" + m.dir + " SHLVL=1 _=/usr/bin/env an argument /bin/true 0 "
	rest, ok := strings.CutPrefix(got, want)
	if !ok {
		t.Fatalf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	open, command, _ := strings.Cut(rest, " /bin/bash ")
	for _, f := range strings.Fields(open) {
		if !strings.HasPrefix(f, "pipe:") && f != "/dev/null" && f != filepath.Join(m.dir, "seen") && f != filepath.Join(m.dir, "bin/checkpassword") {
			t.Errorf("it has %s open", f)
		}
	}
	if want := filepath.Join(m.dir, "bin/checkpassword") + " an argument /bin/true"; command != want {
		t.Errorf("got the command %q, want %q", command, want)
	}
}

func TestWhatACheckpasswordProgramSays(t *testing.T) {
	m := start(t, byProgram)
	for _, c := range []struct {
		user, password string
		want           error
		log            []string // of a fault
	}{
		{"alice", "exit 0", nil, nil},
		{"alice", `exec "${@:2}"`, nil, nil},
		{"alice", `[ "$login" = alice ]`, nil, nil},
		{"alice", "exit 1", mta.ErrCredentials, nil},
		{"alice", "exit 2", nil, []string{"exit status 2"}},
		{"alice", "echo no  server >&2; exit 111", nil, []string{"exit status 111", "it says: no server"}},
		{"alice", "exit 3", nil, []string{"exit status 3", "run it by hand"}},
		{"alice", "kill -9 $$", nil, []string{"signal: killed"}},
		{"alice", `yes | head -c 3000000; exit 111`, nil, []string{"it says: y y y"}},
		{"alice", `echo "he said $password"; exit 111`, nil, []string{"holds the password and is not shown"}},
		// Who may not log in: the program is asked for nobody, and whatever it says is not heard.
		{"root", "exit 0", mta.ErrCredentials, nil},
		{"root", `[ "$login" != root ] && exit 111`, nil, []string{"user=root", "exit status 111"}},
		{"list", "exit 0", mta.ErrCredentials, nil},
		{"over", "exit 0", mta.ErrCredentials, nil},
		{"stranger", "exit 0", mta.ErrCredentials, nil},
		// Its passwords need not be those of /etc/shadow.
		{"locked", "exit 0", nil, nil},
		{"old", "exit 0", nil, nil},
	} {
		err := m.client.Check(t.Context(), c.user, c.password)
		if c.log == nil && !errors.Is(err, c.want) {
			t.Errorf("%s %q: got %v, want %v", c.user, c.password, err, c.want)
		}
		if c.log != nil {
			if err == nil || errors.Is(err, mta.ErrCredentials) {
				t.Errorf("%s %q: got %v, want a fault", c.user, c.password, err)
			}
			m.await(append(slices.Clone(c.log), "event=as-user-refused", "op=check", "reason=fault")...)
		}
	}
	if s := m.log.String(); strings.Contains(s, "he said") || len(s) > 20000 {
		t.Errorf("the log has a password or is long:\n%s", s)
	}
}

func TestWhatACheckpasswordProgramLeavesBehindIsKilled(t *testing.T) {
	m := start(t, byProgram)
	if err := m.client.Check(t.Context(), "alice", `cd "${0%/*}/.."; sleep 1000 & echo $! >pids; setsid sleep 1001 & echo $! >>pids; exit 0`); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(m.dir, "pids"))
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(b))
	if len(pids) != 2 {
		t.Fatalf("got %q, want two processes", b)
	}
	for _, pid := range pids {
		if alive(t, pid) {
			t.Errorf("%s is alive", pid)
		}
	}
}
