package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
)

// TestWhatIsStartedHasTheUsersRightsAlone is what SECURITY in as-user.8 says.
func TestWhatIsStartedHasTheUsersRightsAlone(t *testing.T) {
	m := start(t)
	printed, status, err := m.deliver("bob", `echo "$(id -u) $(id -g) $(id -G)"; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; env -0 | sort -z | tr '\0' ' '; echo; umask; ulimit -c; pwd; for f in /proc/$$/fd/*; do readlink $f; done; exit 75`)
	if err != nil || status != 75 {
		t.Fatalf("got %d, %v; want 75\n%s", status, err, m.log)
	}
	got := strings.Join(strings.Fields(printed), " ")
	none := "0000000000000000"
	want := "20002 20002 20002 8 30000 CapInh: " + none + " CapPrm: " + none + " CapEff: " + none + " CapBnd: " + none + " CapAmb: " + none + " NoNewPrivs: 1 " +
		"HOME=/nowhere/bob LANG=C.UTF-8 LOGNAME=bob PATH=/usr/local/bin:/usr/bin:/bin PWD=/ SHELL=/bin/sh USER=bob 0077 0 / "
	rest, ok := strings.CutPrefix(got, want)
	if !ok {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	for open := range strings.FieldsSeq(rest) {
		if !strings.HasPrefix(open, "pipe:") && open != "/dev/null" && open != filepath.Join(m.dir, "bin/deliver-local") {
			t.Errorf("it has %s open", open)
		}
	}
	m.await("event=as-user-started", "op=deliver", "user=bob", "peer=0")
	m.await("event=as-user-ended", "op=deliver", "user=bob", `status="exit status 75"`)
}

func TestAsUserKeepsFourCapabilities(t *testing.T) {
	m := start(t)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	four := fmt.Sprintf("%016x", 1<<unix.CAP_SETUID|1<<unix.CAP_SETGID|1<<unix.CAP_KILL|1<<unix.CAP_DAC_READ_SEARCH)
	for _, line := range []string{"CapPrm:\t" + four, "CapEff:\t" + four, "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("no %q in\n%s", line, b)
		}
	}
}

func TestWhoIsRefused(t *testing.T) {
	m := start(t)
	for user, why := range map[string]string{
		"root": "uid 0", "toor": "uid 0", "daemon": "uid 1", "list": "uid 38", "nobody": "uid 65534", "minus": "uid 4294967295", "stranger": "unknown user",
	} {
		if printed, status, err := m.deliver(user, "id"); !errors.Is(err, asuser.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %q, %d, %v; want it refused for %q", user, printed, status, err, why)
		}
		m.await("event=as-user-refused", "op=deliver", "user="+user, "reason=user")
	}
	if strings.Contains(m.log.String(), "event=as-user-started") {
		t.Errorf("something was started:\n%s", m.log)
	}
}

// TestAsk is no test of its own: it is who asks in TestEachDaemonMayAskForItsOwnAlone, in a process that runs as that user.
func TestAsk(t *testing.T) {
	path := os.Getenv("AS_USER_TEST_SOCKET")
	if path == "" {
		t.Skip("only TestEachDaemonMayAskForItsOwnAlone runs this")
	}
	c, null := asuser.Client{Path: path}, func() *os.File {
		f, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	say := func(op asuser.Op, err error) {
		if err == nil {
			fmt.Printf("may %s.\n", op)
		} else if !errors.Is(err, asuser.ErrRefused) {
			fmt.Printf("%s: %v.\n", op, err)
		}
	}
	_, err := c.Deliver(t.Context(), "alice", null(), null())
	say(asuser.Deliver, err)
	_, err = c.Program(t.Context(), "lists", null(), null())
	if err != nil && strings.Contains(err.Error(), "there is no [programs.lists]") {
		err = nil
	}
	say(asuser.Program, err)
	_, err = c.Session(t.Context(), "alice", password, null())
	say(asuser.Session, err)
	say(asuser.Check, c.Check(t.Context(), "alice", password))
}

func TestEachDaemonMayAskForItsOwnAlone(t *testing.T) {
	m := start(t)
	ask := m.asker()
	for uid, want := range map[uint32]string{
		0: "may deliver. may program. may session. may check.", 901: "may check.", 902: "may deliver. may program.", 903: "may session.", 20001: "", 65534: "",
	} {
		if got := ask(uid); got != want {
			t.Errorf("uid %d: got %q, want %q", uid, got, want)
		}
	}
	m.await("event=as-user-refused", "op=deliver", "user=alice", "peer=903", "reason=forbidden")
}

// asker asks as a user for everything, and tells what was granted.
func (m *machine) asker() func(uid uint32) string {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("bin/test", string(b), 0o755)
	return func(uid uint32) string {
		m.t.Helper()
		cmd := exec.CommandContext(m.t.Context(), filepath.Join(m.dir, "bin/test"), "-test.run=^TestAsk$")
		cmd.Dir = "/"
		cmd.Env = []string{"AS_USER_TEST_SOCKET=" + m.client.Path, "TMPDIR=/tmp"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			m.t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSpace(strings.Join(strings.Fields(strings.TrimSuffix(string(out), "PASS\n")), " "))
	}
}

// A package makes its users at any time, and /etc/passwd may be away for a moment: no reload is needed then.
func TestADaemonsUserThatWasAbsentIsFoundWhenItConnects(t *testing.T) {
	m := start(t)
	ask := m.asker()
	m.write("etc/passwd", strings.Replace(passwd, "posthouse-queue:", "another:", 1), 0o644)
	if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.await("event=config-warning", "user posthouse-queue, who may ask for deliver: unknown user; ", "looked for again")
	m.await("event=reloaded")
	for uid, want := range map[uint32]string{901: "may check.", 902: ""} {
		if got := ask(uid); got != want {
			t.Errorf("without one of the daemons' users, uid %d: got %q, want %q", uid, got, want)
		}
	}
	m.write("etc/passwd", passwd, 0o644)
	for uid, want := range map[uint32]string{902: "may deliver. may program.", 20001: ""} {
		if got := ask(uid); got != want {
			t.Errorf("with all of them, uid %d: got %q, want %q", uid, got, want)
		}
	}
}

// attempt is a password, and what is said of it.
type attempt struct {
	user, password string
	want           error
}

// wantPasswords tries passwords of accounts of all kinds, and more.
func (m *machine) wantPasswords(more ...attempt) {
	m.t.Helper()
	for _, a := range append([]attempt{
		{"alice", password, nil},
		{"bob", password, nil},
		{"alice", "secret", mta.ErrCredentials},
		{"alice", password + " ", mta.ErrCredentials},
		{"root", password, mta.ErrCredentials},
		{"list", password, mta.ErrCredentials},
		{"over", password, mta.ErrCredentials},
		{"old", password, mta.ErrCredentials},
		{"locked", password, mta.ErrCredentials},
		{"empty", "x", mta.ErrCredentials},
		{"stranger", password, mta.ErrCredentials},
	}, more...) {
		if err := m.client.Check(m.t.Context(), a.user, a.password); !errors.Is(err, a.want) {
			m.t.Errorf("%s %q: got %v, want %v\n%s", a.user, a.password, err, a.want, m.log)
		}
	}
}

func TestPasswords(t *testing.T) {
	m := start(t)
	m.wantPasswords()
	if err := m.client.Check(t.Context(), "md5", password); err == nil || errors.Is(err, mta.ErrCredentials) {
		t.Errorf("a hash that is not known: got %v, want a fault", err)
	}
	m.await("event=as-user-checked", "user=bob")
	m.await("event=as-user-refused", "op=check", "user=md5", "reason=fault", "not known here")
	if s := m.log.String(); strings.Contains(s, "wörd") || strings.Contains(s, "$y$") || strings.Contains(s, "$1$") {
		t.Errorf("the log has a password or a hash:\n%s", s)
	}
}

func TestASessionNeedsItsPassword(t *testing.T) {
	m := start(t)
	ends := func() (*os.File, net.Conn) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		mine := os.NewFile(uintptr(fds[1]), "mine")
		defer mine.Close()
		c, err := net.FileConn(mine)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fds[0]), "theirs"), c
	}
	theirs, mine := ends()
	if _, err := m.client.Session(t.Context(), "alice", "wrong", theirs); !errors.Is(err, mta.ErrCredentials) {
		t.Fatalf("got %v, want %v", err, mta.ErrCredentials)
	}
	if _, err := mine.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v: somebody has the other end", err)
	}
	theirs, mine = ends()
	defer mine.Close()
	hold, err := m.client.Session(t.Context(), "alice", password, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(mine, "id -u; sleep 1000\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(mine, b); err != nil || string(b) != "20001\n" {
		t.Errorf("got %q, %v; want a session as 20001", b, err)
	}
	hold.Close()
	if _, err := mine.Read(b); err != io.EOF {
		t.Errorf("got %v, want the session killed", err)
	}
	m.await("event=as-user-ended", "op=session", "user=alice", `reason="who asked is gone"`)
}

// alive says whether a process is there.
func alive(t *testing.T, text string) bool {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatalf("got %q, want a process id", text)
	}
	return unix.Kill(pid, 0) == nil
}

func TestWhatAJobLeavesBehindIsKilled(t *testing.T) {
	m := start(t)
	// The job waits for the first of them to say who it is: that is on a pipe of its own, which ends then.
	printed, status, err := m.deliver("alice", `exec 3>&1; first=$(setsid sh -c 'trap "" TERM HUP; setsid sleep 1000 >&3 & echo $!; exec >&-; sleep 1000' &); echo $first; `+
		`sleep 1001 >&- 3>&- & echo $!; setsid sh -c 'setsid sleep 1002 >&- 3>&- & echo $!'; exit 0`)
	if err != nil || status != 0 {
		t.Fatalf("got %d, %v", status, err)
	}
	line := m.await("event=as-user-ended", "user=alice", "left=")
	pids := strings.Fields(printed)
	if len(pids) != 3 {
		t.Fatalf("got %q, want three processes", printed)
	}
	for _, pid := range pids {
		if alive(t, pid) {
			t.Errorf("%s is alive after %s", pid, line)
		}
	}
}

// headless becomes a process whose first thread has ended, says who it is, and goes on.
const headless = `
import ctypes, os, threading, time
def go_on():
    while open("/proc/%d/stat" % os.getpid()).read().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.001)
    os.write(1, b"%d\n" % os.getpid())
    os.close(1)
    time.sleep(1000)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
`

// TestWhoLosesHisFirstThreadIsKilled: the kernel shows him as a zombie, which nobody would have to kill.
func TestWhoLosesHisFirstThreadIsKilled(t *testing.T) {
	m := start(t)
	needPAM(t) // for its Python
	m.write("headless", headless, 0o644)
	printed, status, err := m.deliver("alice", `left=$(setsid /usr/bin/python3 `+m.dir+`/headless &); echo $left; exit 0`)
	if err != nil || status != 0 {
		t.Fatalf("got %d, %v", status, err)
	}
	m.await("event=as-user-ended", "user=alice", "left=1")
	if alive(t, printed) {
		t.Errorf("%s is alive", printed)
	}
}

// TestWhatRunsAwayIsKilled has processes fork and end as fast as they can: none is there for long enough to be found and killed.
func TestWhatRunsAwayIsKilled(t *testing.T) {
	m := start(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	m.write("bin/test", string(self), 0o755)
	if _, status, err := m.deliver("mallory", `runs=$(AS_USER_TEST_SOCKET=none AS_USER_TEST_RUNS=1 `+m.dir+`/bin/test -test.run='^TestRun$' &); exit 0`); err != nil || status != 0 {
		t.Fatalf("got %d, %v", status, err)
	}
	if line := m.await("event=as-user-ended", "user=mallory"); strings.Contains(line, "err=") || strings.Contains(line, "left=0") {
		t.Errorf("got %s", line)
	}
	names, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := look(pid); ok && p.uid == 20009 {
				t.Errorf("%+v is alive", p)
			}
		}
	}
}

// TestRun is no test of its own: it is what runs away. It closes its standard output when it has left the job's session.
func TestRun(t *testing.T) {
	if os.Getenv("AS_USER_TEST_RUNS") == "" {
		t.Skip("only TestWhatRunsAwayIsKilled runs this")
	}
	for {
		pid, _, errno := syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0)
		if pid != 0 && errno == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
		syscall.RawSyscall(syscall.SYS_CLOSE, 1, 0, 0)
	}
}

func TestAUserHasOnlySoManyJobs(t *testing.T) {
	m := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	for range maxJobs {
		in, out, output := m.pipes("echo up; exec sleep 1000")
		defer output.Close()
		asked.Go(func() { _, _ = m.client.Deliver(ctx, "mallory", in, out) })
		if _, err := io.ReadFull(output, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.deliver("mallory", "id -u"); err == nil || !strings.Contains(err.Error(), "has 32 jobs already") {
		t.Errorf("got %v, want one job too many", err)
	}
	if printed, _, err := m.deliver("bob", "id -u"); printed != "20002\n" || err != nil {
		t.Errorf("bob: got %q, %v", printed, err)
	}
	cancel()
	asked.Wait()
}

func TestAJobEndsWithWhoHasAskedForIt(t *testing.T) {
	m := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	in, out, output := m.pipes(`trap "" TERM; sleep 1000 & echo $!; wait`)
	defer output.Close()
	asked := make(chan error)
	go func() {
		_, err := m.client.Deliver(ctx, "alice", in, out)
		asked <- err
	}()
	b := make([]byte, 16)
	n, err := output.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	m.await("event=as-user-ended", "user=alice", `status="signal: killed"`, `reason="who asked is gone"`)
	if alive(t, string(b[:n])) {
		t.Error("what it had started is alive")
	}
}

// TestDescriptorsAreBounded sends a frame octet by octet, each with some: this process has only so many.
func TestDescriptorsAreBounded(t *testing.T) {
	m := start(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	nc, err := net.Dial("unix", m.client.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fd := int(null.Fd())
	sent := 0
	for ; sent < 1000; sent++ {
		if _, _, err = nc.(*net.UnixConn).WriteMsgUnix([]byte{1}, unix.UnixRights(fd, fd), nil); err != nil {
			break
		}
		has, derr := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.cmd.Process.Pid))
		if derr != nil || len(has) > 60 {
			t.Fatalf("as-user has %d descriptors, %v", len(has), derr)
		}
	}
	m.await("event=as-user-refused", "malformed frame: too many descriptors")
}

func TestRequestsThatAreNoneGetNothing(t *testing.T) {
	m := start(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	frame := func(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
	for name, c := range map[string]struct {
		text string
		fds  []int
	}{
		"no descriptors":     {frame(`{"op":"deliver","user":"alice"}`), nil},
		"one too few":        {frame(`{"op":"deliver","user":"alice"}`), []int{fd}},
		"one too many":       {frame(`{"op":"deliver","user":"alice"}`), []int{fd, fd, fd}},
		"very many":          {frame(`{"op":"deliver","user":"alice"}`), []int{fd, fd, fd, fd, fd, fd, fd, fd, fd}},
		"some with a check":  {frame(`{"op":"check","user":"alice","password":"x"}`), []int{fd}},
		"another operation":  {frame(`{"op":"exec","user":"alice"}`), []int{fd, fd}},
		"no frame":           {"GET / HTTP/1.0\r\n\r\n", nil},
		"a path as the user": {frame(`{"op":"deliver","user":"../alice"}`), []int{fd, fd}},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("unix", m.client.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			var rights []byte
			if len(c.fds) > 0 {
				rights = unix.UnixRights(c.fds...)
			}
			if _, _, err := nc.(*net.UnixConn).WriteMsgUnix([]byte(c.text), rights, nil); err != nil {
				t.Fatal(err)
			}
			_ = nc.(*net.UnixConn).CloseWrite()
			_ = nc.SetReadDeadline(time.Now().Add(patience))
			if b, err := io.ReadAll(nc); err != nil && !errors.Is(err, syscall.ECONNRESET) || strings.Contains(string(b), `"granted":true`) {
				t.Errorf("got %q, %v; want a refusal", b, err)
			}
		})
	}
	if strings.Contains(m.log.String(), "event=as-user-started") {
		t.Errorf("something was started:\n%s", m.log)
	}
}

// TestAUserStopsNothingButHisOwn has a user stop each process of his at once, those too that are just being made.
func TestAUserStopsNothingButHisOwn(t *testing.T) {
	m := start(t)
	stopper := exec.Command("/bin/sh", "-c", "while :; do kill -s STOP -- -1; done")
	stopper.Dir = "/"
	stopper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 20009, Gid: 20009}}
	if err := stopper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stopper.Process.Kill()
		_ = stopper.Wait()
	}()
	ctx, cancel := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	for range 20 {
		in, out, output := m.pipes("exit 0")
		defer output.Close()
		asked.Go(func() { _, _ = m.client.Deliver(ctx, "mallory", in, out) })
	}
	if printed, status, err := m.deliver("bob", "id -u"); printed != "20002\n" || status != 0 || err != nil {
		t.Errorf("got %q, %d, %v; want bob's", printed, status, err)
	}
	cancel()
	asked.Wait()
}
