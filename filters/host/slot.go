package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

var errDown = errors.New("the filter is down")

// slot is one enabled filter: its process, which comes and goes, and what was counted of it.
type slot struct {
	name    string
	options atomic.Pointer[Options]
	cancel  context.CancelFunc
	tried   chan struct{} // closed when the first start has succeeded or failed

	mu       sync.Mutex // guards below
	proc     *process
	known    *process      // the last that was at work: what it wants
	swapping bool          // the next process is about to come
	changed  chan struct{} // closed when proc or swapping changes
	idle     chan struct{} // closed when a withdrawn process has no more calls
	state    string
	err      error
	restarts int

	counters counters
}

func newSlot(name string, o *Options) *slot {
	s := &slot{name: name, tried: make(chan struct{}), changed: make(chan struct{}), state: "starting"}
	s.options.Store(o)
	return s
}

// acquire returns the process for one call, to be released. It waits while a process is being replaced.
func (s *slot) acquire(ctx context.Context) (*process, error) {
	for {
		s.mu.Lock()
		p, swapping, changed, err := s.proc, s.swapping, s.changed, s.err
		if p != nil {
			p.calls++
		}
		s.mu.Unlock()
		switch {
		case p != nil:
			return p, nil
		case !swapping && err != nil:
			return nil, errors.Join(errDown, err)
		case !swapping:
			return nil, errDown
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *slot) release(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.calls--
	if p.calls == 0 && p != s.proc && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// back waits until there is a process again, or ctx ends.
func (s *slot) back(ctx context.Context) bool {
	for {
		s.mu.Lock()
		up, changed := s.proc != nil, s.changed
		s.mu.Unlock()
		if up {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// publish lets a process work.
func (s *slot) publish(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.known, s.swapping, s.state, s.err = p, p, false, "running", nil
	s.signal()
}

// withdraw takes the process out of work: no call of it begins any more. The channel is closed when the last one has
// ended. With swap the callers wait for the next process.
func (s *slot) withdraw(swap bool, state string, err error) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := make(chan struct{})
	if s.proc == nil || s.proc.calls == 0 {
		close(idle)
	} else {
		s.idle = idle
	}
	s.proc, s.swapping, s.state, s.err = nil, swap, state, err
	s.signal()
	return idle
}

// fail says that there is no process, and counts the one that comes next.
func (s *slot) fail(err error) {
	s.withdraw(false, "down", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts++
}

func (s *slot) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wants says whether the filter is to be asked at a stage. One that has never been at work is missed at the end, when the
// message is there, and only where its settings let it work.
func (s *slot) wants(stage proto.Stage, role string) (bool, *process) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if known != nil {
		return known.wants(stage, role), known
	}
	if stage != proto.Stage_STAGE_MESSAGE {
		return false, nil
	}
	set, err := s.options.Load().readSettings(s.name)
	return err != nil || len(set.roles) == 0 || slices.Contains(set.roles, role), nil
}

// policy is what a failure means, and how long a call may take.
func (s *slot) policy() (onFailure string, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		o := s.options.Load()
		if set, err := o.readSettings(s.name); err == nil {
			return set.onFailure, set.timeout
		}
		return o.OnFailure, o.Timeout
	}
	return s.known.set.onFailure, s.known.set.timeout
}

// ask makes one call, with its deadline. prepare puts in what depends on the process; edits says that it may edit.
func (s *slot) ask(ctx context.Context, stage proto.Stage, e *proto.Event, prepare func(*process, *proto.Event) error) (v *proto.Verdict, edits bool, err error) {
	_, timeout := s.policy()
	p, err := s.acquire(ctx)
	if err != nil {
		s.counters.fail(stage)
		return nil, false, err
	}
	defer s.release(p)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if prepare != nil {
		if err := prepare(p, e); err != nil {
			s.counters.fail(stage)
			return nil, false, err
		}
	}
	begin := time.Now()
	v, err = invoke(ctx, p.filter, stage, e)
	s.counters.called(stage, time.Since(begin))
	p.heard(err)
	if err != nil {
		s.counters.fail(stage)
	}
	return v, p.info.edits, err
}

func invoke(ctx context.Context, f proto.FilterClient, stage proto.Stage, e *proto.Event) (*proto.Verdict, error) {
	switch stage {
	case proto.Stage_STAGE_CONNECT:
		return f.Connect(ctx, e)
	case proto.Stage_STAGE_HELLO:
		return f.Hello(ctx, e)
	case proto.Stage_STAGE_SENDER:
		return f.Sender(ctx, e)
	case proto.Stage_STAGE_RECIPIENT:
		return f.Recipient(ctx, e)
	case proto.Stage_STAGE_MESSAGE:
		return f.Message(ctx, e)
	}
	return nil, errors.New("no such stage")
}
