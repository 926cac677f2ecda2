package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxJobs bounds the jobs of one user: those that cannot be killed would take all the room in time.
	maxJobs = 32
	// killTime is how long a process may take to end that has been killed.
	killTime = 10 * time.Second
)

// tenant is a user who has jobs.
type tenant struct {
	jobs int // guarded by server.mu
	// sweeping is held for a sweep: of two, one could kill by an id that the other has set free.
	sweeping sync.Mutex
}

// startJob starts a job's process.
func (s *server) startJob(j job) (*exec.Cmd, *tenant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[j.account.UID]
	if t == nil {
		t = &tenant{}
	}
	if t.jobs == maxJobs {
		return nil, nil, fmt.Errorf("user %s has %d jobs already", j.account.Name, maxJobs)
	}
	cmd, err := j.command()
	if err == nil {
		err = s.launch(cmd)
	}
	if err != nil {
		return nil, nil, err
	}
	t.jobs++
	s.tenants[j.account.UID] = t
	return cmd, t, nil
}

// launch starts a process, which none of the sweeps takes for one that was left behind. The caller holds s.mu.
func (s *server) launch(cmd *exec.Cmd) error {
	err := cmd.Start()
	if err == nil {
		s.jobs[cmd.Process.Pid] = true
	}
	return err
}

// startAsRoot starts a checkpassword program or getent, and endAsRoot kills what it has left behind.
func (s *server) startAsRoot(cmd *exec.Cmd) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.launch(cmd)
}

func (s *server) endAsRoot(pid int) {
	s.mu.Lock()
	delete(s.jobs, pid)
	s.mu.Unlock()
	s.asRoot.sweeping.Lock()
	defer s.asRoot.sweeping.Unlock()
	_, _ = s.sweep(0)
}

// end kills a job's process with its group, and what the user's jobs have left behind. Ended is closed when the process has
// ended, and not been waited for: until then its id, and its group's, are nobody else's.
func (s *server) end(cmd *exec.Cmd, t *tenant, uid uint32, ended <-chan struct{}) (state *os.ProcessState, left int, err error) {
	pid := cmd.Process.Pid
	_ = unix.Kill(-pid, unix.SIGKILL)
	leave := func() *os.ProcessState {
		_ = cmd.Wait() // the state tells all
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.jobs, pid)
		if t.jobs--; t.jobs == 0 {
			delete(s.tenants, uid)
		}
		return cmd.ProcessState
	}
	late := time.NewTimer(killTime)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		go func() {
			<-ended
			leave()
		}()
		return nil, 0, errors.New("it does not end: SIGKILL has no effect")
	}
	t.sweeping.Lock()
	left, err = s.sweep(uid)
	t.sweeping.Unlock()
	return leave(), left, err
}

// await returns when a process has ended, and leaves its id to it.
func await(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
