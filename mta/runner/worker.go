package runner

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// How long a message waits for the spool, where that refuses something.
const (
	waitNotNow  = 2 * time.Second  // an earlier try is not cleared away yet
	waitTrouble = 30 * time.Second // the disk has a fault, or is full
	waitDamaged = time.Hour        // the message cannot be read, and only an operator can mend it
)

// worker is what every worker has. The settings are those of its beginning.
type worker struct {
	store     Store
	log       *maillog.Log
	set       *Settings
	stalled   *atomic.Bool
	congested *atomic.Bool
	slow      *atomic.Int32
}

// visit is a worker's work on one message.
type visit struct {
	*worker
	ctx   context.Context
	m     *spool.Message
	env   *mta.Envelope
	load  *spool.Loaded
	look  bool // an earlier run may have delivered it
	rcpts []spool.Rcpt
	seen  map[mta.Address]bool // in Delivered-To fields, folded; nil: not looked at yet
	tally tally
}

// open reads the message; nil when it cannot be read now, which the tally says.
func (w *worker) open(ctx context.Context, m *spool.Message) (*visit, tally) {
	l, err := w.store.Load(m)
	if err != nil {
		wait := waitTrouble
		if errors.Is(err, spool.ErrCorrupt) || errors.Is(err, mta.ErrNewer) || errors.Is(err, fs.ErrNotExist) {
			wait = waitDamaged
		}
		y := tally{broken: true}
		y.wait(time.Now().Add(wait))
		w.log.QueueUnreadable(m.ID(), y.next, err)
		return nil, y
	}
	return w.opened(ctx, m, l), tally{}
}

// opened is open for a message that was read already. What became of its recipients since is not in it: each of them
// is in one transaction of the round, and nobody else does anything about it.
func (w *worker) opened(ctx context.Context, m *spool.Message, l *spool.Loaded) *visit {
	return &visit{worker: w, ctx: ctx, m: m, env: l.Envelope, load: l, rcpts: l.Rcpts}
}

// held says that nothing may begin: the spool cannot make results last, or the daemon is ending.
func (v *visit) held() bool { return v.tally.unsynced || v.stalled.Load() || v.ctx.Err() != nil }

// postponed notes that the spool refused something for the message.
func (v *visit) postponed(op string, err error) {
	wait := waitTrouble
	if errors.Is(err, spool.ErrNotNow) {
		wait = waitNotNow
	}
	next := time.Now().Add(wait)
	v.tally.wait(next)
	v.log.QueuePostponed(v.env.ID, op, next, err)
}
