package greylist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/posthouse-mail/posthouse/filters"
)

// Bounds of the store.
const (
	maxTriplets = 1_000_000 // about 100 MB of file
	sweepEvery  = time.Hour
	sweepBatch  = 10_000
	openTimeout = 5 * time.Second
)

var bucket = []byte("triplets")

// local is the store of one host: a file, which one process has open.
type local struct {
	db    *bbolt.DB
	set   *settings
	count atomic.Int64 // of triplets
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// triplet is 17 octets: whether it has passed, since when it is known, and until when.
type triplet struct {
	passed       bool
	since, until int64 // seconds
}

func (t triplet) bytes() []byte {
	b := make([]byte, 17)
	if t.passed {
		b[0] = 1
	}
	binary.BigEndian.PutUint64(b[1:], uint64(t.since))
	binary.BigEndian.PutUint64(b[9:], uint64(t.until))
	return b
}

// tripletOf reads one; what is none is one that has run out.
func tripletOf(b []byte) triplet {
	if len(b) != 17 {
		return triplet{}
	}
	return triplet{b[0] == 1, int64(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:]))}
}

func openLocal(path string, set *settings, now func() time.Time) (*local, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTimeout})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; it can be removed, everybody is unknown then", path, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &local{db: db, set: set, stop: stop}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err == nil {
			l.count.Store(int64(b.Stats().KeyN))
		}
		return err
	})
	if err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	l.done.Go(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for ctx.Err() == nil {
			if err := l.sweep(ctx, now()); err != nil {
				filters.Log().Error("sweep", "err", err)
			}
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	})
	return l, nil
}

// Close ends the sweeper and gives the file free.
func (l *local) Close() error {
	l.stop()
	l.done.Wait()
	return l.db.Close()
}

// seen writes only where something changes: mostly it reads.
func (l *local) seen(_ context.Context, key [32]byte, now time.Time) (time.Duration, error) {
	var have triplet
	err := l.db.View(func(tx *bbolt.Tx) error {
		have = tripletOf(tx.Bucket(bucket).Get(key[:]))
		return nil
	})
	if err != nil {
		return 0, err
	}
	next, wait := l.set.step(have, now)
	if next == have {
		return wait, nil
	}
	full := false
	err = l.db.Batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		old := b.Get(key[:])
		next, wait = l.set.step(tripletOf(old), now)
		if full = old == nil && l.count.Load() >= maxTriplets; full {
			return nil
		}
		return b.Put(key[:], next.bytes())
	})
	switch {
	case err != nil:
		return 0, err
	case full:
		return 0, fmt.Errorf("%d triplets are known, and no more are taken", maxTriplets)
	case have == (triplet{}):
		l.count.Add(1) // two at once count twice, until the next sweep
	}
	return wait, nil
}

// step is what becomes of a triplet when it is tried.
func (s *settings) step(t triplet, now time.Time) (triplet, time.Duration) {
	at := now.Unix()
	switch {
	case t.until <= at: // unknown, or known too long ago
		return triplet{false, at, at + seconds(s.window)}, s.delay
	case !t.passed && at < t.since+seconds(s.delay):
		return t, time.Duration(t.since+seconds(s.delay)-at) * time.Second
	case !t.passed || t.until < at+seconds(s.keep)-seconds(s.keep)/10: // the end moves seldom, and not at each mail
		return triplet{true, t.since, at + seconds(s.keep)}, 0
	}
	return t, 0
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// sweep removes what has run out, a part at a time so that mail can go on, and counts what is left.
func (l *local) sweep(ctx context.Context, now time.Time) error {
	left := int64(0)
	var from []byte
	for ctx.Err() == nil {
		n := 0
		err := l.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			var old [][]byte
			c := b.Cursor()
			k, v := c.Seek(from)
			for ; k != nil && n < sweepBatch; k, v = c.Next() {
				n++
				if tripletOf(v).until <= now.Unix() {
					old = append(old, append([]byte(nil), k...))
				} else {
					left++
				}
			}
			from = append([]byte(nil), k...)
			for _, k := range old {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(from) == 0 {
			l.count.Store(left)
			return nil
		}
	}
	return nil
}
