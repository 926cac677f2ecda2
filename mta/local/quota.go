package local

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// Errors of a delivery that the quota does not allow.
var (
	errFull  = errors.New("mailbox full")
	errLarge = fmt.Errorf("%w: the message alone is more than the quota", errFull)
)

// countError says that the mailbox could not be counted: nothing was delivered.
type countError struct{ err error }

func (e *countError) Error() string { return "count for the quota: " + e.err.Error() }
func (e *countError) Unwrap() error { return e.err }

// maxNear bounds how many mailboxes Quotas knows of that are nearly full: there are hardly ever as many, and those that it
// does not know of take mail until a delivery is refused.
const maxNear = 10000

// nearFull is the part of a quota that is left in a mailbox that is nearly full.
const nearFull = 10

// Quotas holds mailboxes to their quotas: it looks at the room, delivers and counts for one message at a time in a mailbox,
// and remembers which ones are nearly full. It outlives a change of the configuration. It is safe for use by many goroutines.
type Quotas struct {
	FS  durable.FS
	Now func() time.Time

	seed  maphash.Seed
	locks [64]sync.Mutex // by mailbox: between the look at its room and the count

	mu   sync.Mutex           // guards near
	near map[mta.Address]near // by login
}

// near is a mailbox that is nearly full, or had no room for a message of so many octets.
type near struct {
	path   string
	octets int64
}

// NewQuotas returns Quotas that know of no mailbox yet.
func NewQuotas(fsys durable.FS) *Quotas {
	return &Quotas{FS: fsys, Now: time.Now, seed: maphash.MakeSeed(), near: map[mta.Address]near{}}
}

// lock takes a mailbox; the caller unlocks it.
func (q *Quotas) lock(path string) *sync.Mutex {
	mu := &q.locks[maphash.String(q.seed, path)%uint64(len(q.locks))]
	mu.Lock()
	return mu
}

func (q *Quotas) counter(path string, limit int64) maildir.Counter {
	return maildir.Counter{FS: q.FS, Path: path, Limit: limit, Now: q.Now}
}

// Room returns how many octets are left in the mailboxes that are nearly full; it is none, or less, where they are full. The
// limit of a login is 0 where it has none, or is nobody's any more.
func (q *Quotas) Room(limit func(login mta.Address) int64) map[mta.Address]int64 {
	q.mu.Lock()
	all := maps.Clone(q.near)
	q.mu.Unlock()
	left := map[mta.Address]int64{}
	for login, n := range all {
		if octets, ok := q.room(n, limit(login)); ok {
			left[login] = octets
			continue
		}
		q.mu.Lock()
		delete(q.near, login)
		q.mu.Unlock()
	}
	return left
}

// room looks how much is left in a mailbox; it is not ok where that is enough. A delivery to it goes first.
func (q *Quotas) room(n near, limit int64) (octets int64, ok bool) {
	if limit == 0 {
		return 0, false
	}
	defer q.lock(n.path).Unlock()
	used, err := q.counter(n.path, limit).Used(0)
	octets = limit - used.Octets
	return octets, err == nil && octets < max(limit/nearFull, n.octets)
}

// note remembers a mailbox that is nearly full, or has refused a message of so many octets.
func (q *Quotas) note(login mta.Address, path string, refused int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.near) < maxNear {
		q.near[login] = near{path, refused}
	}
}

// within delivers where the mailbox's quota leaves room, and counts. A crash between the two makes the count too low until
// the next one who counts; the message is there.
func (d Deliverer) within(box maildir.Mailbox, r Request, put func(maildir.Mailbox) error) error {
	q := d.Quotas
	if q == nil || box.Path == filepath.Join(r.Mailbox, "."+trash) { // no quota counts what is in Trash
		return put(box)
	}
	c := q.counter(r.Mailbox, r.Quota)
	var size, used int64
	if r.Quota > 0 {
		defer q.lock(r.Mailbox).Unlock()
		before, err := c.Used(1)
		if err != nil {
			return &countError{err}
		}
		used = before.Octets
		if used >= r.Quota { // there is no need to write it first
			q.note(r.Login, r.Mailbox, 0)
			return errFull
		}
	}
	box.Admit = func(octets int64) error {
		size = octets
		if r.Quota == 0 {
			return nil
		}
		return d.admit(c, r, size, &used)
	}
	err := put(box)
	if err != nil && !errors.Is(err, maildir.ErrUnsynced) {
		return err
	}
	// A count that cannot be written down is wrong until somebody counts anew. The message is delivered all the same.
	_ = c.Add(maildir.Usage{Messages: 1, Octets: size})
	if r.Quota > 0 {
		d.warn(c, r, used, used+size)
	}
	return err
}

// admit looks whether a message of a size finds room; used is what there is.
func (d Deliverer) admit(c maildir.Counter, r Request, size int64, used *int64) error {
	if size > r.Quota {
		return errLarge
	}
	if *used+size > r.Quota {
		now, err := c.Used(size) // which counts again, where that may help
		if err != nil {
			return &countError{err}
		}
		*used = now.Octets
	}
	left := r.Quota - *used - size
	switch {
	case left < 0:
		d.Quotas.note(r.Login, r.Mailbox, size)
		return errFull
	case left < r.Quota/nearFull:
		d.Quotas.note(r.Login, r.Mailbox, 0)
	}
	return nil
}

// full is what becomes of a message that the quota does not allow.
func (d Deliverer) full(err error) mta.Outcome {
	switch {
	case errors.Is(err, errLarge):
		return mta.Outcome{Status: mta.Failed, Code: 552, Enhanced: "5.2.3", Text: "the message is larger than this mailbox may grow"}
	case d.QuotaBounces:
		return mta.Outcome{Status: mta.Failed, Code: 552, Enhanced: "5.2.2", Text: FullText}
	}
	return mta.Outcome{Status: mta.Deferred, Code: 452, Enhanced: "4.2.2", Text: FullText}
}

// FullText is what senders are told of a full mailbox.
const FullText = "the mailbox is full"
