// Package verify asks the host that a recipient's mail goes on to whether it takes that recipient, and remembers what it said: so a
// backup MX refuses what would only come back later. It knows no protocol; mta/remote asks for it.
package verify

import (
	"context"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// How long answers are good for, and what else bounds a Verifier.
const (
	keepGood  = 4 * time.Hour
	keepStale = 7 * 24 * time.Hour // a good one, while the host cannot be asked: that is what a backup MX is for
	keepBad   = 15 * time.Minute
	keepNone  = time.Minute // where the host could not be asked

	maxAsking = 10 // questions to one destination at once
	askTime   = 2 * time.Minute
)

// Probe asks the host: Delivered says that it takes the recipient.
type Probe func(ctx context.Context, dest mta.Destination, rcpt mta.Address) mta.Outcome

// Verifier asks. It is safe for use by many goroutines.
type Verifier struct {
	Now  func() time.Time
	Most int // answers that are remembered

	mu     sync.Mutex
	known  map[mta.Address]*answer
	asking map[mta.Destination]int
}

// answer is what is known of a recipient. Its fields but done are guarded by Verifier.mu.
type answer struct {
	done   chan struct{} // closed when the question under way has its answer; nil = none is
	last   mta.Outcome
	until  time.Time // when to ask again
	goodAt time.Time // when the host said yes; zero = never, or no since
}

// New returns a Verifier that knows nothing.
func New() *Verifier {
	return &Verifier{Now: time.Now, Most: 100_000, known: map[mta.Address]*answer{}, asking: map[mta.Destination]int{}}
}

// Ask says whether the host takes a recipient: the zero Reply where it does, otherwise what the client is to be told. It asks
// once for all who want to know at the same time, and goes on after ctx has ended, for those who come back.
func (v *Verifier) Ask(ctx context.Context, probe Probe, dest mta.Destination, rcpt mta.Address) mta.Reply {
	v.mu.Lock()
	a := v.known[rcpt]
	if a != nil && a.done == nil && v.Now().Before(a.until) {
		defer v.mu.Unlock()
		return a.reply(v.Now())
	}
	if a == nil {
		v.makeRoom()
		a = &answer{}
		v.known[rcpt] = a
	}
	if a.done == nil {
		if v.asking[dest] >= maxAsking {
			defer v.mu.Unlock()
			if a.fresh(v.Now()) {
				return mta.Reply{}
			}
			return mta.Reply{Code: 450, Enhanced: "4.3.2", Text: "Too many recipients are being verified, try again later"}
		}
		v.asking[dest]++
		a.done = make(chan struct{})
		go v.ask(context.WithoutCancel(ctx), probe, dest, rcpt, a)
	}
	done := a.done
	v.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return a.reply(v.Now())
}

func (v *Verifier) ask(ctx context.Context, probe Probe, dest mta.Destination, rcpt mta.Address, a *answer) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o := probe(ctx, dest, rcpt)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asking[dest]--; v.asking[dest] == 0 {
		delete(v.asking, dest)
	}
	now := v.Now()
	a.last = o
	switch o.Status {
	case mta.Delivered:
		a.until, a.goodAt = now.Add(keepGood), now
	case mta.Failed:
		a.until, a.goodAt = now.Add(keepBad), time.Time{}
	default:
		a.until = now.Add(keepNone)
	}
	close(a.done)
	a.done = nil
}

// fresh says that the host has taken the recipient not too long ago, and not refused it since.
func (a *answer) fresh(now time.Time) bool {
	return !a.goodAt.IsZero() && now.Sub(a.goodAt) < keepStale
}

// reply is what a client is told now. The host's words are for senders anyway.
func (a *answer) reply(now time.Time) mta.Reply {
	switch {
	case a.last.Status == mta.Failed && a.done == nil:
		r := a.last.Reply()
		if r.Enhanced == "" {
			r.Enhanced = "5.1.1"
		}
		return mta.Reply{Code: 550, Enhanced: r.Enhanced, Text: "The host of this domain refuses the recipient: " + r.Text}
	case a.fresh(now):
		return mta.Reply{}
	case a.done != nil:
		return mta.Reply{Code: 450, Enhanced: "4.4.1", Text: "The host of this domain has not answered yet, try again later"}
	}
	return mta.Reply{Code: 450, Enhanced: "4.4.1", Text: "The host of this domain cannot be asked for the recipient now: " + a.last.Reply().Text}
}

// makeRoom forgets answers that are of no use any more, or any, where there are too many. It is called with mu held.
func (v *Verifier) makeRoom() {
	if len(v.known) < v.Most {
		return
	}
	now := v.Now()
	for rcpt, a := range v.known {
		if a.done == nil && now.After(a.until) && !a.fresh(now) {
			delete(v.known, rcpt)
		}
	}
	for rcpt, a := range v.known {
		if len(v.known) < v.Most*9/10 {
			return
		}
		if a.done == nil {
			delete(v.known, rcpt)
		}
	}
}
