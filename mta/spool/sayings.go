package spool

import (
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// maxSayings bounds what sayings remembers.
const maxSayings = 4096

// sayings are last outcomes. A host that is down gives thousands of messages the same one, which is kept once: it is half of
// what a waiting message takes, and most of what the garbage collector would have to look at. The zero sayings is ready.
type sayings struct {
	mu    sync.Mutex
	known map[mta.Outcome]*mta.Outcome
}

// share returns the outcome, less its time, in a place that equal ones share. Nobody may change it there.
func (s *sayings) share(o mta.Outcome) *mta.Outcome {
	o.At = time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.known[o]; ok {
		return p
	}
	if s.known == nil || len(s.known) >= maxSayings {
		s.known = map[mta.Outcome]*mta.Outcome{} // those in use stay where they are
	}
	p := &o
	s.known[o] = p
	return p
}
