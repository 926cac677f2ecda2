package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// The life of a filter.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute
	steady       = 30 * time.Second // a process that lived so long begins anew with firstBackoff
	lookEvery    = time.Second      // for changes on disk; what looks the same twice is complete
	dying        = time.Second      // a process that has closed its connection may be about to end by itself
)

// supervise starts the filter, and again when it has died, until ctx ends. Its thread is the parent of the processes, so
// that the kernel ends them with it, however this program ends.
func (s *slot) supervise(ctx context.Context) {
	runtime.LockOSThread() // for good: the thread ends with this goroutine, and the processes with the thread
	backoff := time.Duration(0)
	for {
		o := s.options.Load()
		p, err := s.begin(ctx, o)
		if err == nil {
			s.publish(p)
			o.Log.FilterStarted(s.name, p.info.version) // who reads that finds it at work
			s.first()
			p, err = s.watch(ctx, p)
		}
		if ctx.Err() != nil {
			return
		}
		if p != nil && time.Since(p.started) > steady {
			backoff = 0
		}
		backoff = min(max(2*backoff, firstBackoff), maxBackoff)
		s.fail(err)
		s.first()
		s.options.Load().Log.FilterDown(s.name, err, backoff)
		if !s.rest(ctx, backoff) {
			return
		}
	}
}

func (s *slot) first() {
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// begin starts a process that nothing stands before.
func (s *slot) begin(ctx context.Context, o *Options) (*process, error) {
	p, err := o.launch(ctx, s.name)
	if err != nil {
		return nil, err
	}
	if err := p.activate(ctx, o); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// rest waits before the next try, which comes at once when something has changed on disk. False when ctx has ended.
func (s *slot) rest(ctx context.Context, d time.Duration) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	late := time.NewTimer(d)
	defer late.Stop()
	before, _ := s.options.Load().find(s.name)
	seen := before
	for {
		select {
		case <-ctx.Done():
			return false
		case <-late.C:
			return true
		case <-tick.C:
			now, err := s.options.Load().find(s.name)
			if err == nil && now == seen && now != before {
				return true
			}
			seen = now
		}
	}
}

// watch stays with a process, and with those that take its place, until the last of them has ended: it returns that one
// and the reason.
func (s *slot) watch(ctx context.Context, p *process) (*process, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var c candidate
	for {
		select {
		case <-ctx.Done():
			<-s.withdraw(false, "ended", nil)
			p.end()
			return p, ctx.Err()
		case <-p.gone:
			s.withdraw(false, "down", errEnded)
			p.end()
			return p, errEnded
		case <-p.doubt:
			if p.alive(ctx, s.options.Load()) {
				continue
			}
			err := errSilent
			if p.dies() {
				err = errEnded
			}
			s.withdraw(false, "down", err)
			p.end()
			return p, err
		case <-tick.C:
			o := s.options.Load()
			now, err := o.find(s.name)
			if !c.ripe(p.place, now, err) {
				continue
			}
			if err != nil {
				o.Log.FilterKept(s.name, err)
				continue
			}
			q, err := s.replace(ctx, o, p)
			if q == nil {
				return p, err
			}
			if err != nil {
				o.Log.FilterKept(s.name, err)
			}
			p = q
		}
	}
}

var (
	errEnded  = errors.New("its process has ended by itself")
	errSilent = errors.New("its process answers no more, and was ended")
)

// candidate is what stands on disk instead of what runs.
type candidate struct {
	last  place
	fault string
	done  bool // it was tried
}

// ripe says that something else stands on disk, has not changed since the last look, and was not tried yet.
func (c *candidate) ripe(runs, now place, err error) bool {
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if now != c.last || fault != c.fault {
		*c = candidate{last: now, fault: fault}
		return false
	}
	if c.done || err == nil && now == runs {
		return false
	}
	c.done = true
	return true
}

// replace puts a new process in the place of p. It returns the one that works now, with an error where that is not what
// was meant to be; nil where none works.
func (s *slot) replace(ctx context.Context, o *Options, p *process) (*process, error) {
	q, err := o.launch(ctx, s.name)
	if err != nil {
		return p, err
	}
	<-s.withdraw(true, "replacing", nil)
	p.end()
	err = q.activate(ctx, o)
	if err == nil {
		s.publish(q)
		o.Log.FilterEnded(s.name, "replaced")
		o.Log.FilterStarted(s.name, q.info.version)
		return q, nil
	}
	q.end()
	if p.place.program != q.place.program {
		return nil, fmt.Errorf("the new program came too far to go back: %w", err)
	}
	old, back := s.again(ctx, o, p)
	if back != nil {
		return nil, errors.Join(err, back)
	}
	s.publish(old)
	return old, err
}

// again starts a process like p, with the settings that p had.
func (s *slot) again(ctx context.Context, o *Options, p *process) (*process, error) {
	q, err := o.launchWith(ctx, s.name, p.place, p.set)
	if err != nil {
		return nil, err
	}
	if err := q.activate(ctx, o); err != nil {
		q.end()
		return nil, err
	}
	return q, nil
}
