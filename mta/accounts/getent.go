package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// getent's statuses: the key was found, or not. It says the second, too, where the name service cannot be reached.
const (
	found   = 0
	missing = 2
)

// pipeTime is for what it has printed to be read when it has ended.
const pipeTime = time.Second

// maxOutput is more than a line of it has: 65536 groups of ten figures.
const maxOutput = 1 << 20

var (
	errAway = errors.New("the name service did not answer a moment ago; see what nsswitch.conf names")
	errBusy = errors.New("there were more questions for the name service than it answers")
	errLost = errors.New("the name service does not know an account that it knew before: it is away, or has lost it")
)

// known asks for a name. That there is none counts where the name service still knows the account that it knew last: getent
// says the same of a name that nobody has and of a service that has been stopped, and mail must not come back for that.
func (s *Source) known(ctx context.Context, name string) (string, error) {
	text, err := s.ask(ctx, "passwd", name)
	s.mu.Lock()
	before := s.proven
	if err == nil {
		s.proven = name
	}
	s.mu.Unlock()
	if !errors.Is(err, ErrUnknown) || before == "" {
		return text, err
	}
	if before != name {
		_, err = s.ask(ctx, "passwd", before)
	}
	switch {
	case errors.Is(err, ErrUnknown):
		return "", fmt.Errorf("%w (%s)", errLost, before)
	case err != nil:
		return "", err
	}
	return "", ErrUnknown
}

// ask is run with its cache, its turns and its pause.
func (s *Source) ask(ctx context.Context, database, key string) (string, error) {
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	now, query := time.Now(), database+" "+key
	s.mu.Lock()
	a, kept := s.cache[query]
	away := now.Before(s.away)
	if !kept || now.After(a.until) {
		kept = false
		if !away && !s.away.IsZero() { // this one finds out whether it is back, and the others need not wait for that
			s.away = now.Add(s.timeout)
		}
	}
	s.mu.Unlock()
	switch {
	case kept && a.text == "":
		return "", ErrUnknown
	case kept:
		return a.text, nil
	case away:
		return "", errAway
	}
	text, err := s.await(bound, database, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil: // who asked waits no longer: it says nothing of the name service
		return "", ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		s.away = time.Now().Add(s.pause)
		return "", fmt.Errorf("%s %s: the name service has not answered for %v", s.Program, query, s.timeout)
	case errors.Is(err, ErrUnknown) || err == nil:
		if s.away = (time.Time{}); len(s.cache) >= maxCache {
			clear(s.cache)
		}
		s.cache[query] = answer{text, time.Now().Add(s.keep)}
	}
	return text, err
}

// await is run, in its turn, for who does not wait longer than ctx lasts. The turn is given back when the process has ended; so Close waits for it.
func (s *Source) await(ctx context.Context, database, key string) (text string, err error) {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done(): // those whose turn it is find out whether it answers
		return "", errBusy
	}
	done := make(chan struct{})
	var said string
	var fault error
	go func() {
		defer func() { <-s.turns }()
		said, fault = s.run(ctx, database, key)
		close(done)
	}()
	select {
	case <-done:
		return said, fault
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// run starts getent and returns what it prints. All of its process group ends with it.
func (s *Source) run(ctx context.Context, database, key string) (string, error) {
	said := &output{}
	cmd := &exec.Cmd{Path: s.Program, Args: []string{"getent", database, key}, Env: []string{"PATH=/usr/bin:/bin", "LANG=C"}, Dir: "/", Stdout: said,
		WaitDelay: pipeTime, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	start := (*exec.Cmd).Start
	if s.Start != nil {
		start = s.Start
	}
	if err := start(cmd); err != nil {
		return "", fmt.Errorf("%s: %w; mailboxes.system_accounts = \"nss\" needs it", s.Program, err)
	}
	ended := make(chan struct{})
	go func() { // as long as nobody has waited for it, its id, which is its group's too, is no other's
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	<-ended
	err := cmd.Wait()
	if s.Ended != nil {
		s.Ended(cmd.Process.Pid)
	}
	switch status := cmd.ProcessState.ExitCode(); {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case status == missing:
		return "", ErrUnknown
	case status != found || err != nil || said.more || said.b.Len() == 0:
		return "", fmt.Errorf("%s %s %s: %v, with %d octets of output", s.Program, database, key, cmd.ProcessState, said.b.Len())
	}
	return said.b.String(), nil
}

// output keeps what is written to it, up to a bound.
type output struct {
	b    bytes.Buffer
	more bool
}

func (o *output) Write(p []byte) (int, error) {
	keep := min(len(p), maxOutput-o.b.Len())
	o.b.Write(p[:keep])
	o.more = o.more || keep < len(p)
	return len(p), nil
}
