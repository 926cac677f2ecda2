package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// daemon is one run of a program, and its log.
type daemon struct {
	name string
	cmd  *exec.Cmd
	over chan struct{} // closed when the program has ended; err is set then
	err  error

	mu      sync.Mutex // guards what follows
	lines   []string
	changed chan struct{} // closed at the next line
}

// launch starts a program of ours in the foreground. Its end is waited for when the test is over at the latest.
func launch(t testing.TB, name string, args ...string) *daemon {
	t.Helper()
	return launchProgram(t, name, filepath.Join(bin, name), args...)
}

// launchProgram is launch for a program that becomes ours.
func launchProgram(t testing.TB, name, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, cmd: exec.Command(program, args...), over: make(chan struct{}), changed: make(chan struct{})}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive tests that are broken off
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.over)
		d.read(stderr)
		d.err = d.cmd.Wait()
	}()
	t.Cleanup(d.kill)
	return d
}

func (d *daemon) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		d.mu.Lock()
		d.lines = append(d.lines, s.Text())
		close(d.changed)
		d.changed = make(chan struct{})
		d.mu.Unlock()
	}
}

// kill ends the program as a crash does.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.over
}

// running says whether the program has not ended.
func (d *daemon) running() bool {
	select {
	case <-d.over:
		return false
	default:
		return true
	}
}

func (d *daemon) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
}

// terminate asks the program to end and waits for it.
func (d *daemon) terminate(t testing.TB) {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	if status := d.status(t); status != 0 {
		t.Errorf("%s: got exit status %d after SIGTERM, want 0", d.name, status)
	}
}

// status waits for the end of the program.
func (d *daemon) status(t testing.TB) int {
	t.Helper()
	select {
	case <-d.over:
	case <-time.After(patience):
		t.Fatalf("%s has not ended", d.name)
	}
	var exit *exec.ExitError
	switch {
	case d.err == nil:
		return 0
	case errors.As(d.err, &exit):
		return exit.ExitCode()
	}
	t.Fatalf("%s: %v", d.name, d.err)
	return -1
}

// mark is the place in the log behind its last line.
func (d *daemon) mark() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lines)
}

// log returns the lines so far.
func (d *daemon) log() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.lines...)
}

// await waits for a line that matches pattern, anywhere in the log, and returns it with what its groups hold.
func (d *daemon) await(t testing.TB, pattern string) []string {
	t.Helper()
	return d.awaitFrom(t, 0, pattern)
}

// awaitFrom waits for a line that stands behind a mark.
func (d *daemon) awaitFrom(t testing.TB, from int, pattern string) []string {
	t.Helper()
	m, err := d.search(from, pattern, patience)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (d *daemon) search(from int, pattern string, limit time.Duration) ([]string, error) {
	re := regexp.MustCompile(pattern)
	late := time.After(limit)
	for {
		ended := !d.running() // before the look: its last lines are there then
		d.mu.Lock()
		changed := d.changed
		for ; from < len(d.lines); from++ {
			if m := re.FindStringSubmatch(d.lines[from]); m != nil {
				d.mu.Unlock()
				return m, nil
			}
		}
		d.mu.Unlock()
		if ended {
			return nil, fmt.Errorf("%s has ended (%v) without %s in its log", d.name, d.err, pattern)
		}
		select {
		case <-changed:
		case <-d.over:
		case <-late:
			return nil, fmt.Errorf("%s: no %s in the log within %v", d.name, pattern, limit)
		}
	}
}

// count is how many lines match.
func (d *daemon) count(pattern string) int {
	re := regexp.MustCompile(pattern)
	n := 0
	for _, l := range d.log() {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

// tail is the end of the log, for a test that has failed.
func (d *daemon) tail(n int) string {
	l := d.log()
	return fmt.Sprintf("--- %s (of %d lines)\n%s\n", d.name, len(l), strings.Join(l[max(0, len(l)-n):], "\n"))
}
