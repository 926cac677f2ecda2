package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta/asuser"
)

const (
	// deliverTime bounds a delivery: deliver-local ends its programs before that.
	deliverTime = 15 * time.Minute
	// programGrace is what deliver-local has, beyond a program's own time, to end it and say so.
	programGrace = 30 * time.Second
)

// job is a process to be started.
type job struct {
	request asuser.Request
	account account
	argv    []string
	stdin   *os.File
	stdout  *os.File
	time    time.Duration // 0: for as long as who asked stays
}

// job says what a request means: which program, as whom. Its caller chose nothing of it but a name.
func (s *server) job(ctx context.Context, set *settings, r asuser.Request, files []*os.File) (j job, err error) {
	j.request = r
	least := set.cfg.Mailboxes.SystemMinUID
	switch r.Op {
	case asuser.Deliver:
		j.account, err = set.person(ctx, r.User, least)
		j.argv, j.time = []string{filepath.Join(s.programs, "deliver-local"), "--pipe"}, deliverTime
		j.stdin, j.stdout = files[0], files[1]
	case asuser.Session:
		j.account, err = set.person(ctx, r.User, least)
		j.argv = []string{s.pop3d(), "--session"}
		j.stdin, j.stdout = files[0], files[0]
	case asuser.Program:
		p, known := set.cfg.Programs[r.Program]
		if !known {
			return j, fmt.Errorf("there is no [programs.%s] in the configuration", r.Program)
		}
		j.account, err = set.person(ctx, p.User, 1) // the operator has named it
		argv := []string{filepath.Join(s.programs, "deliver-local"), "--program", "--timeout=" + p.Timeout.String()}
		for _, e := range p.Environment {
			argv = append(argv, "--env="+e)
		}
		j.argv, j.time = slices.Concat(argv, []string{"--"}, p.Command), p.Timeout+programGrace
		j.stdin, j.stdout = files[0], files[1]
	default:
		err = errors.ErrUnsupported
	}
	return j, err
}

// run starts a job, tells who asked, and waits for its end: by itself, by its time, or because nobody waits for it any more.
func (s *server) run(ctx context.Context, c *net.UnixConn, uid uint32, j job) {
	r := j.request
	cmd, t, err := s.startJob(j)
	if err != nil {
		s.refuse(c, uid, r, asuser.WhyFault, err)
		return
	}
	pid, began := cmd.Process.Pid, time.Now()
	for _, f := range []*os.File{j.stdin, j.stdout} {
		_ = f.Close() // or the other end would never see their end
	}
	s.log.AsUserStarted(string(r.Op), j.account.Name, r.Program, int(uid), pid)
	ended := make(chan struct{})
	go func() {
		await(pid)
		close(ended)
	}()
	why := s.watch(ctx, c, j.time, ended)
	state, left, err := s.end(cmd, t, j.account.UID, ended)
	status := "it has not ended"
	if state != nil {
		status = state.String()
	}
	s.log.AsUserEnded(string(r.Op), j.account.Name, r.Program, pid, status, why, left, time.Since(began), err)
	_ = c.SetWriteDeadline(time.Now().Add(requestTime))
	_ = asuser.WriteReply(c, asuser.Reply{Granted: true, Status: state.ExitCode(), Why: why})
}

// watch says that the process was started, waits, and says why it is to be killed; "" where it has ended.
func (s *server) watch(ctx context.Context, c *net.UnixConn, most time.Duration, ended <-chan struct{}) string {
	gone := make(chan struct{})
	if err := asuser.WriteReply(c, asuser.Reply{Granted: true}); err != nil {
		return "who asked is gone"
	}
	go func() { // until the connection is closed
		_, _ = c.Read(make([]byte, 1)) // nothing more is due: an octet is as good as the end
		close(gone)
	}()
	var over <-chan time.Time // never, for who may stay as long as who asked
	if most > 0 {
		over = time.After(most)
	}
	select {
	case <-ended:
		return ""
	case <-gone:
		return "who asked is gone"
	case <-over:
		return "its time is over"
	case <-ctx.Done():
		return "as-user ends"
	}
}

// ownFolder is where this program is.
func ownFolder() string {
	if self, err := os.Executable(); err == nil {
		return filepath.Dir(self)
	}
	return "/usr/lib/posthouse"
}

// pop3d is beside this program in a build, and where `make install` puts it otherwise.
func (s *server) pop3d() string {
	beside := filepath.Join(s.programs, "pop3d")
	if _, err := os.Stat(beside); err != nil {
		return filepath.Join(s.programs, "../../sbin/posthouse-pop3d")
	}
	return beside
}
