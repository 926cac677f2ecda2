package runner

import (
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// publishing tells the world how long the queue is.
type publishing struct {
	busy bool
	at   time.Time
	bad  trouble
}

// publish tells Settings.Publish of the queue when it is time.
func (s *schedule) publish(now time.Time) {
	p := &s.publishing
	if s.set.Publish == nil || p.busy || p.at.After(now) {
		return
	}
	p.busy, p.at = true, now.Add(mta.QueueStatusEvery)
	st, tell := s.status(now), s.set.Publish
	s.start(func() event { return published{tell(st)} })
}

// status counts, for the metrics too.
func (s *schedule) status(now time.Time) mta.QueueStatus {
	c := s.count(now)
	s.set.Metrics.last.Store(c)
	return mta.QueueStatus{At: now, Messages: len(s.items), Oldest: c.first()}
}

type published struct{ err error }

func (e published) apply(s *schedule) {
	s.publishing.busy = false
	s.publishing.bad.note(s.log, "status", e.err)
}
