package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// When a place of users is asked no longer, and how it is found to be back.
const (
	maxUnanswered = 3 // questions in a row, while none had an answer for queryTime
	probeEvery    = time.Second
	probeFor      = time.Minute // after the last question that was not asked
)

// health is whether a place of users answers. Where several questions in a row have had no answer, nobody waits for one
// until a probe has had one.
type health struct {
	mu         sync.Mutex // guards the rest
	away       bool       // what the log was told last
	unanswered int        // questions in a row
	cause      error      // of the first of them: others may but say that it was away a moment ago
	answered   time.Time  // when the last answer came
	shut       error      // why nobody asks; nil: all do
	wanted     time.Time  // when somebody last wanted to, while it was shut
	probing    bool
	closed     bool // nobody probes any more, and nothing is shut

	running sync.WaitGroup // the probe; one is added with mu held, and never when closed
}

// close lets no probe begin. Who goes on asking waits for each answer himself.
func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed, h.shut = true, nil
}

// ask says why nobody is to ask for the moment.
func (h *health) ask() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut != nil {
		h.wanted = time.Now()
	}
	return h.shut
}

// heard takes what became of a question, nil for an answer, and has the log told when that changes. The result says whether to
// begin with probes, which are running from then on.
func (h *health) heard(err error, away func(error), back func()) (probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		if h.away {
			back()
		}
		h.away, h.unanswered, h.answered, h.shut = false, 0, time.Now(), nil
		return false
	}
	if !h.away {
		away(err)
		h.cause = err
	}
	h.away = true
	h.unanswered++
	// With others who have answers it is slow, or has too few connections, and not away.
	if h.closed || h.shut != nil || h.unanswered < maxUnanswered || time.Since(h.answered) < queryTime {
		return false
	}
	h.shut, h.wanted = fmt.Errorf("%d questions have had no answer, the first: %w", h.unanswered, h.cause), time.Now()
	if probe, h.probing = !h.probing, true; probe {
		h.running.Add(1)
	}
	return probe
}

// probes says whether to go on with probes: not when answers have come, or nobody has asked for long. Then the next question
// is its own probe.
func (h *health) probes() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut != nil && time.Since(h.wanted) < probeFor {
		return true
	}
	h.shut, h.probing = nil, false
	return false
}

// probe asks about nobody until there is an answer, or until the place is closed.
func (d *Database) probe() {
	defer d.health.running.Done()
	for d.health.probes() {
		ctx, cancel := context.WithTimeout(d.life, queryTime)
		err := d.anything(ctx)
		cancel()
		if err == nil {
			d.heard(nil)
			continue
		}
		select {
		case <-time.After(probeEvery):
		case <-d.life.Done():
		}
	}
}

// Close ends what goes on beside questions, the search for a Store that did not answer, and waits for that. It counts for all
// Databases of the Store. They can still be asked.
func (d *Database) Close() {
	d.health.close()
	d.end()
	d.health.running.Wait()
}

// anything asks each kind of question. A fault is an answer.
func (d *Database) anything(ctx context.Context) error {
	const nobody = "posthouse-check@localhost"
	_, err := d.store.User(ctx, nobody)
	if isAnswer(err) {
		_, err = d.store.Alias(ctx, nobody)
	}
	if isAnswer(err) && d.judge != nil && !d.opt.DropVerifiers {
		err = d.judge.Verify(ctx, nil, nobody)
	}
	if isAnswer(err) {
		return nil
	}
	return err
}

func isAnswer(err error) bool {
	return err == nil || errors.Is(err, ErrFault) || errors.Is(err, ErrNotAsked) || errors.Is(err, mta.ErrCredentials)
}

// heard is health.heard.
func (d *Database) heard(err error) {
	if d.health.heard(err, func(err error) { d.opt.Log.UsersAway(d.name, err) }, func() { d.opt.Log.UsersBack(d.name) }) {
		go d.probe() // Close waits for it
	}
}
