package mtatest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what should be there at once, before it fails.
const Patience = 3 * time.Minute

// Build builds programs, each named by the folder of its package, and returns the folder that they are in. It is removed when
// the test is over.
func Build(t testing.TB, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := BuildInto(dir, packages...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// BuildInto is Build for what is no test's own.
func BuildInto(dir string, packages ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", dir + string(filepath.Separator)}, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are installed
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Program is one run of a program that writes its log to its standard error.
type Program struct {
	Name string
	PID  int

	cmd  *exec.Cmd
	over chan struct{} // closed when the program has ended; err is set then
	err  error

	mu      sync.Mutex // guards what follows
	lines   []string
	next    int           // where Next goes on
	changed chan struct{} // closed at the next line
}

// Start starts a program in the foreground. It is ended when the test is over at the latest.
func Start(t testing.TB, path string, args ...string) *Program {
	t.Helper()
	p := &Program{Name: filepath.Base(path), cmd: exec.Command(path, args...), over: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive tests that are broken off
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.PID = p.cmd.Process.Pid
	go func() {
		defer close(p.over)
		p.read(stderr)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.Kill)
	return p
}

func (p *Program) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// Kill ends the program as a crash does.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.over
}

// Running says whether the program has not ended.
func (p *Program) Running() bool {
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the program.
func (p *Program) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
}

// Terminate asks the program to end and waits for it.
func (p *Program) Terminate(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if status := p.Status(t); status != 0 {
		t.Errorf("%s: got exit status %d after SIGTERM, want 0", p.Name, status)
	}
}

// Status waits for the end of the program and returns its exit status, which is -1 where a signal ended it.
func (p *Program) Status(t testing.TB) int {
	t.Helper()
	select {
	case <-p.over:
	case <-time.After(Patience):
		t.Fatalf("%s has not ended", p.Name)
	}
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &exit):
		return exit.ExitCode()
	}
	t.Fatalf("%s: %v", p.Name, p.err)
	return -1
}

// Mark is the place in the log behind its last line.
func (p *Program) Mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// Log returns the lines so far.
func (p *Program) Log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// Await waits for a line that matches pattern, anywhere in the log, and returns it with what its groups hold.
func (p *Program) Await(t testing.TB, pattern string) []string {
	t.Helper()
	return p.AwaitFrom(t, 0, pattern)
}

// AwaitFrom waits for a line that stands behind a mark.
func (p *Program) AwaitFrom(t testing.TB, mark int, pattern string) []string {
	t.Helper()
	m, err := p.Search(mark, pattern, Patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Tail(100))
	}
	return m
}

// Next waits for a line behind the one that it returned before, for what is told in one order.
func (p *Program) Next(t testing.TB, pattern string) []string {
	t.Helper()
	m, at, err := p.search(p.next, pattern, Patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Tail(100))
	}
	p.next = at + 1
	return m
}

// Search is AwaitFrom with a limit of its own and an error.
func (p *Program) Search(mark int, pattern string, limit time.Duration) ([]string, error) {
	m, _, err := p.search(mark, pattern, limit)
	return m, err
}

func (p *Program) search(from int, pattern string, limit time.Duration) (m []string, at int, err error) {
	re := regexp.MustCompile(pattern)
	late := time.After(limit)
	for {
		ended := !p.Running() // before the look: its last lines are there then
		p.mu.Lock()
		changed := p.changed
		for ; from < len(p.lines); from++ {
			if m := re.FindStringSubmatch(p.lines[from]); m != nil {
				p.mu.Unlock()
				return m, from, nil
			}
		}
		p.mu.Unlock()
		if ended {
			return nil, 0, fmt.Errorf("%s has ended (%v) without %s in its log", p.Name, p.err, pattern)
		}
		select {
		case <-changed:
		case <-p.over:
		case <-late:
			return nil, 0, fmt.Errorf("%s: no %s in the log within %v", p.Name, pattern, limit)
		}
	}
}

// Count is how many lines match.
func (p *Program) Count(pattern string) int {
	re := regexp.MustCompile(pattern)
	n := 0
	for _, l := range p.Log() {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

// Tail is the end of the log, for a test that has failed.
func (p *Program) Tail(n int) string {
	l := p.Log()
	return fmt.Sprintf("--- %s (of %d lines)\n%s\n", p.Name, len(l), strings.Join(l[max(0, len(l)-n):], "\n"))
}
