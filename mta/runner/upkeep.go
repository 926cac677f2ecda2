package runner

import (
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// How often what is done. The trigger makes new messages known at once; the timer is for a trigger that was lost.
const (
	pollEvery       = 15 * time.Second
	flushEvery      = 100 * time.Millisecond
	checkEvery      = time.Second
	checkFinished   = 1000 // messages after which a checkpoint does not wait for its time
	troubleRetry    = time.Second
	checkpointAfter = 100 * time.Millisecond // at the least, between the end of one and the start of the next
)

// upkeep is what the schedule does for the spool: reading arrivals, making results last, checkpoints. Each is one
// worker at a time.
type upkeep struct {
	polling bool
	pollAt  time.Time
	pollBad trouble

	flushing   bool
	flushAt    time.Time // zero: nothing to flush
	flushBad   trouble
	flushes    int // how often a flush has begun
	stallUntil int // the flush that must succeed before anything begins

	checking  bool
	checkAt   time.Time // zero: nothing to do
	checked   time.Time // the end of the last one
	checkBad  trouble
	finished  int  // messages since the last checkpoint began
	unchecked bool // something happened since the last checkpoint began
}

// trouble remembers that an operation fails, so that only the first failure is logged, and the end of it.
type trouble bool

func (t *trouble) note(log *maillog.Log, op string, err error) {
	switch {
	case err != nil && !bool(*t):
		log.QueueStalled(op, err)
	case err == nil && bool(*t):
		log.QueueResumed(op)
	}
	*t = err != nil
}

// troubles are the operations that fail just now, "" for none.
func (s *schedule) troubles() string {
	var list []string
	for _, x := range []struct {
		op  string
		bad trouble
	}{{"flush", s.upkeep.flushBad}, {"poll", s.upkeep.pollBad}, {"checkpoint", s.upkeep.checkBad}} {
		if x.bad {
			list = append(list, x.op)
		}
	}
	return strings.Join(list, ", ")
}

// activity notes that something was recorded.
func (u *upkeep) activity(now time.Time) {
	if u.flushAt.IsZero() {
		u.flushAt = now.Add(flushEvery)
	}
	if u.checkAt.IsZero() {
		u.checkAt = now.Add(checkEvery)
	}
	u.unchecked = true
}

func (u *upkeep) deadlines(sooner func(time.Time)) {
	sooner(u.pollAt)
	sooner(u.flushAt)
	sooner(u.checkAt)
}

// keepUp starts what is due.
func (s *schedule) keepUp(now time.Time) {
	u := &s.upkeep
	s.flushDue(now)
	s.publish(now)
	if early := u.checked.Add(checkpointAfter); u.finished >= checkFinished && early.Before(u.checkAt) && !bool(u.checkBad) {
		u.checkAt = early
	}
	if !u.checking && !u.checkAt.IsZero() && !u.checkAt.After(now) {
		s.startCheckpoint()
	}
	if !u.polling && !u.pollAt.After(now) && len(s.fresh) < maxFresh {
		s.startPoll()
	}
}

func (s *schedule) flushDue(now time.Time) {
	u := &s.upkeep
	if !u.flushing && !u.flushAt.IsZero() && !u.flushAt.After(now) {
		s.startFlush()
	}
}

func (s *schedule) startPoll() {
	s.upkeep.polling = true
	s.upkeep.pollAt = time.Now().Add(pollEvery)
	store, n := s.store, maxFresh
	s.start(func() event {
		fresh, more, err := store.Poll(n)
		return polled{fresh, more, err}
	})
}

type polled struct {
	fresh []*spool.Message
	more  bool
	err   error
}

func (e polled) apply(s *schedule) {
	u := &s.upkeep
	u.polling = false
	u.pollBad.note(s.log, "poll", e.err)
	s.add(e.fresh)
	switch {
	case e.err != nil:
		u.pollAt = time.Now().Add(troubleRetry)
	case e.more:
		u.pollAt = time.Time{}
	}
	// Withdrawals and dead segments are the checkpoint's to clear away, messages or not.
	if u.checkAt.IsZero() {
		u.checkAt = time.Now().Add(checkEvery)
	}
}

func (s *schedule) startFlush() {
	u := &s.upkeep
	u.flushing, u.flushAt = true, time.Time{}
	u.flushes++
	n, store := u.flushes, s.store
	s.start(func() event { return flushed{n, store.Flush()} })
}

// stall lets nothing begin until a flush that begins after this moment has succeeded.
func (s *schedule) stall() {
	s.stalled.Store(true)
	s.upkeep.stallUntil = s.upkeep.flushes + 1
	s.upkeep.flushAt = time.Now()
}

type flushed struct {
	n   int
	err error
}

func (e flushed) apply(s *schedule) {
	u := &s.upkeep
	u.flushing = false
	u.flushBad.note(s.log, "flush", e.err)
	if e.err != nil {
		s.stall()
		u.flushAt = time.Now().Add(troubleRetry)
		return
	}
	if e.n >= u.stallUntil && !s.stopping {
		s.stalled.Store(false)
	}
}

func (s *schedule) startCheckpoint() {
	u := &s.upkeep
	u.checking, u.checkAt, u.finished, u.unchecked = true, time.Time{}, 0, false
	store := s.store
	s.start(func() event {
		if store.Idle() {
			return checked{idle: true}
		}
		redo, err := store.Checkpoint()
		return checked{redo: redo, err: err}
	})
}

type checked struct {
	redo []*spool.Message
	idle bool
	err  error
}

func (e checked) apply(s *schedule) {
	u := &s.upkeep
	now := time.Now()
	u.checking, u.checked = false, now
	u.checkBad.note(s.log, "checkpoint", e.err)
	s.add(e.redo)
	if !e.idle || u.unchecked {
		u.checkAt = now.Add(checkEvery)
	}
	if !e.idle && u.pollAt.After(u.checkAt) {
		u.pollAt = u.checkAt // the end of a segment pokes nobody
	}
}

// end writes the last results down, once all workers have ended.
func (s *schedule) end() error {
	err := s.store.Flush()
	s.upkeep.flushBad.note(s.log, "flush", err)
	if err != nil {
		return err
	}
	_, err = s.store.Checkpoint()
	s.upkeep.checkBad.note(s.log, "checkpoint", err)
	return err
}
