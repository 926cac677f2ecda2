package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// output is a log that a test reads while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "posthouse.toml")
	text = fmt.Sprintf("hostname = \"mail.example.org\"\nspool.path = %q\n", filepath.Join(dir, "spool")) + text
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantLog(t *testing.T, log *output, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(log.String(), part) {
			t.Errorf("got log\n%s\nwant %q in it", log, part)
		}
	}
}

func TestCommandLine(t *testing.T) {
	path := writeConfig(t, t.TempDir(), "")
	bad := writeConfig(t, t.TempDir(), "[smtpd]\nmax_errors = 0\nzz = 1\n")
	for _, c := range []struct {
		args     []string
		status   int
		out, err string
	}{
		{[]string{"--nothing"}, 64, "", "unknown flag"},
		{[]string{"-c"}, 64, "", "needs an argument"},
		{[]string{"-c", path, "extra"}, 64, "", `unexpected argument "extra"`},
		{[]string{"-c", "/nowhere/posthouse.toml"}, 78, "", "/nowhere/posthouse.toml:1: open /nowhere/posthouse.toml: no such file"},
		{[]string{"--config=" + bad}, 78, "", bad + ":4: smtpd.max_errors: 0 is out of range; allowed: 1 to 1000\n" + bad + ":5: smtpd.zz: unknown key"},
		{[]string{"--check", "--config=" + bad}, 78, "", bad + ":4: smtpd.max_errors"},
		{[]string{"--help"}, 0, "--config FILE", ""},
		{[]string{"--version"}, 0, "testd (Posthouse) " + Version(), ""},
		{[]string{"--config", path}, 0, "", "event=stopped program=testd\n"},
	} {
		var out, stderr bytes.Buffer
		status := start("testd", c.args, &out, &stderr, func(context.Context, *App) error { return nil })
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(stderr.String(), c.err) {
			t.Errorf("%v: got status %d\n%s\n%s\nwant %d, %q, %q", c.args, status, &out, &stderr, c.status, c.out, c.err)
		}
	}
}

func TestACheckOfTheConfigurationStartsNothing(t *testing.T) {
	var out, stderr bytes.Buffer
	status := start("testd", []string{"--check", "-c", writeConfig(t, t.TempDir(), "")}, &out, &stderr, func(context.Context, *App) error {
		return errors.New("the work has begun")
	})
	if status != 0 || out.Len() > 0 || stderr.Len() > 0 {
		t.Errorf("got status %d, %q, %q, want 0 and nothing said", status, &out, &stderr)
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), 71},
		{fmt.Errorf("x: %w", config.Errors{{File: "f", Line: 1, Msg: "m"}}), 78},
		{fmt.Errorf("x: %w", ErrUnmatched), 78},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EIO}, 74},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, 75},
		{fmt.Errorf("listen: %w", syscall.EADDRINUSE), 71},
		{fmt.Errorf("x: %w", WithStatus(&fs.PathError{Op: "open", Path: "/x", Err: syscall.EIO}, 65)), 65},
		{nil, 0},
	} {
		if got := ExitStatus(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

// started runs the daemon's work in a goroutine; the App comes out when the work has begun.
func started(t *testing.T, path string, run Run) (*App, *output, func() int) {
	t.Helper()
	log, apps, status := &output{}, make(chan *App, 1), make(chan int, 1)
	go func() {
		status <- start("testd", []string{"-c", path}, &bytes.Buffer{}, log, func(ctx context.Context, a *App) error {
			apps <- a
			return run(ctx, a)
		})
	}()
	return <-apps, log, func() int { return <-status }
}

func signalSelf(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestASignalEndsTheWorkInPeace(t *testing.T) {
	_, log, wait := started(t, writeConfig(t, t.TempDir(), ""), func(ctx context.Context, a *App) error {
		if err := a.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	signalSelf(t, syscall.SIGTERM)
	if got := wait(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	wantLog(t, log, "event=started program=testd", "event=ready", "event=stopping signal=terminated", "level=info event=stopped")
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	a := newApp("testd", "", &config.Config{}, &output{})
	statuses := make(chan int, 1)
	a.exit = func(status int) { statuses <- status }
	log := &output{}
	a.Log = maillog.New(maillog.NewText(log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	signals := make(chan os.Signal, 3)
	signals <- syscall.SIGINT
	signals <- syscall.SIGHUP // no reload while it ends
	signals <- syscall.SIGTERM
	a.watch(signals, cancel, nil)
	if got := <-statuses; got != ExitTempFail || ctx.Err() == nil {
		t.Errorf("got status %d and context error %v, want %d and a cancelled context", got, ctx.Err(), ExitTempFail)
	}
	wantLog(t, log, "event=stopping signal=interrupt", "event=interrupted signal=terminated")
	if strings.Contains(log.String(), "reload") {
		t.Errorf("got a reload after the signal to end:\n%s", log)
	}
}

func TestReloadTakesAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := writeConfig(t, dir, "")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log, states, refuse := &output{}, []string{}, false
	var first []int
	a := newApp("testd", path, c, log)
	a.notify = func(s string) { states = append(states, s) }
	a.OnReload(func(c *config.Config) error {
		first = append(first, c.SMTPD.MaxErrors)
		return nil
	})
	a.OnReload(func(*config.Config) error {
		if refuse {
			return errors.New("not with me")
		}
		return nil
	})
	step := func(text string, wantErrors int, status string) {
		t.Helper()
		writeConfig(t, dir, text)
		states = nil
		a.reloadNow()
		if got := a.Config().SMTPD.MaxErrors; got != wantErrors {
			t.Errorf("%q: got max_errors %d in force, want %d", text, got, wantErrors)
		}
		if len(states) != 2 || !strings.HasPrefix(states[0], "RELOADING=1\nMONOTONIC_USEC=") || !regexp.MustCompile("^READY=1\nSTATUS="+status+" in force$").MatchString(states[1]) {
			t.Errorf("%q: the service manager got %q", text, states)
		}
	}
	step("[smtpd]\nmax_errors = 5\n[log]\nlevel = \"debug\"\n", 5, `configuration of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	wantLog(t, log, "event=reloaded")
	if a.level.Level().String() != "DEBUG" {
		t.Errorf("got level %v, want that of the new file", a.level.Level())
	}
	a.since = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	step("[smtpd]\nmax_errors = 0\n", 5, `reload of \S+ \S+ refused \(faults in the configuration: 1\); configuration of 2001-02-03 04:05:06`)
	wantLog(t, log, "event=config-problem where="+path+":4 key=smtpd.max_errors", "event=reload-failed")
	refuse = true
	step("[smtpd]\nmax_errors = 7\n", 5, `reload of \S+ \S+ refused \(not with me\); configuration of 2001-02-03 04:05:06`)
	wantLog(t, log, `err="not with me"`)
	if got := fmt.Sprint(first); got != "[5 7 5]" {
		t.Errorf("the first function got %s, want [5 7 5]: the old one again after the refusal", got)
	}
}

func TestAReloadWaitsUntilTheWorkHasBegun(t *testing.T) {
	dir := t.TempDir()
	path := writeConfig(t, dir, "")
	began, reloaded := make(chan struct{}), make(chan int)
	_, log, wait := started(t, path, func(ctx context.Context, a *App) error {
		<-began
		a.OnReload(func(c *config.Config) error {
			reloaded <- c.SMTPD.MaxErrors
			return nil
		})
		if err := a.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	writeConfig(t, dir, "[smtpd]\nmax_errors = 5\n")
	signalSelf(t, syscall.SIGHUP)
	close(began)
	if got := <-reloaded; got != 5 {
		t.Errorf("got max_errors %d, want 5", got)
	}
	signalSelf(t, syscall.SIGTERM)
	if got := wait(); got != 0 {
		t.Errorf("got status %d, want 0", got)
	}
	wantLog(t, log, "event=reloaded")
}

// early is a log that sends the process a signal as soon as it is written to.
type early struct {
	*output
	once sync.Once
}

func (e *early) Write(p []byte) (int, error) {
	e.once.Do(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGHUP) })
	return e.output.Write(p)
}

func TestASignalBeforeTheWorkBeginsIsNoAccident(t *testing.T) {
	log := &early{output: &output{}}
	status := start("testd", []string{"-c", writeConfig(t, t.TempDir(), "")}, &bytes.Buffer{}, log, func(ctx context.Context, a *App) error {
		a.OnReload(func(*config.Config) error {
			signalSelf(t, syscall.SIGTERM)
			return nil
		})
		if err := a.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if status != 0 {
		t.Errorf("got status %d, want 0", status)
	}
	wantLog(t, log.output, "event=reloaded", "event=stopping")
}

func TestAFailedStartIsToldFaultByFault(t *testing.T) {
	log := &output{}
	status := start("testd", []string{"-c", writeConfig(t, t.TempDir(), "")}, &bytes.Buffer{}, log, func(context.Context, *App) error {
		return config.Errors{{File: "/x", Line: 3, Key: "tls.key", Msg: "does not fit"}}
	})
	if status != ExitConfig {
		t.Errorf("got status %d, want %d", status, ExitConfig)
	}
	wantLog(t, log, `event=config-problem where=/x:3 key=tls.key text="does not fit"`, "level=error event=stopped")
}

func TestFoldersOfAPrivateInstance(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{}
	c.Spool.Path = filepath.Join(dir, "a", "spool")
	a := newApp("testd", "", c, &output{})
	if !a.Private() {
		t.Fatal("got a shared instance, want a private one: nobody made this spool")
	}
	run := filepath.Join(dir, "run", "smtpd")
	if err := a.EnsureDirs(run, dir); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(run); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v; want a folder of mode 0700", st, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.EnsureDirs(file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file in the place of a folder: got %v, want %v", err, syscall.ENOTDIR)
	}
	if private(c, "root") == (os.Geteuid() == 0) {
		t.Errorf("a spool under %s, made by uid %d: got private=%v for the owner root", dir, os.Geteuid(), private(c, "root"))
	}
}

func TestInheritedSocketsAreMatchedByAddress(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(mustAddrPort(t, s)) }
	for _, c := range []struct {
		have           net.Addr
		network, where string
		want           bool
	}{
		{tcp("127.0.0.1:25"), "tcp", ":25", false},
		{tcp("[::]:25"), "tcp", ":2525", false},
		{tcp("127.0.0.2:25"), "tcp", "127.0.0.1:25", false},
		{tcp("127.0.0.1:25"), "unix", "/run/x", false},
		{&net.UnixAddr{Name: "/run/x"}, "unix", "/run/y", false},
		{&net.UDPAddr{Port: 25}, "tcp", ":25", false},
		{tcp("[::]:25"), "tcp", ":25", true},
		{tcp("0.0.0.0:25"), "tcp", ":25", true},
		{tcp("[::ffff:127.0.0.1]:25"), "tcp", "127.0.0.1:25", true},
		{tcp("[::1]:25"), "tcp", "[::1]:25", true},
		{&net.UnixAddr{Name: "/run/x"}, "unix", "/run/x", true},
	} {
		if got := sameAddress(c.have, c.network, c.where); got != c.want {
			t.Errorf("%v and %s %s: got %v, want %v", c.have, c.network, c.where, got, c.want)
		}
	}
}
