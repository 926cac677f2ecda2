package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// Rate is so many events in a time, all of which may come at once; the zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// RateLimits are the limits of Rates.
type RateLimits struct {
	MessagesPerClient  Rate // of who has not logged in
	MessagesPerLogin   Rate
	RecipientsPerLogin Rate
}

// maxBuckets bounds what Rates remembers, maxBucket the octets of a key.
const (
	maxBuckets    = 1 << 16
	maxBucket     = 512
	maxRatesState = 64 << 20
)

// Rates counts messages and recipients in token buckets, one a client and a login. A bucket is the moment at which it will
// be full again; one that is full is not remembered. It is safe for use by many goroutines.
type Rates struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	limits  RateLimits
	shared  *Shared // nil: this host counts for itself
	full    map[string]time.Time
	changed bool // since the last Save
}

// NewRates returns full buckets; now is the clock, nil = time.Now.
func NewRates(now func() time.Time) *Rates {
	if now == nil {
		now = time.Now
	}
	return &Rates{now: now, full: map[string]time.Time{}}
}

// SetLimits puts other limits in force; what was counted stays.
func (r *Rates) SetLimits(l RateLimits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = l
}

// Share counts in a place of several hosts from now on, and here only while that does not answer; nil ends it.
func (r *Rates) Share(s *Shared) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = s
}

// Message counts a message of a login, or of the client where that is "", and returns 0; or, where that would be too many,
// how long to wait.
func (r *Rates) Message(client netip.Addr, login string) time.Duration {
	if login != "" {
		return r.count("login-messages "+strings.ToLower(login), func(l *RateLimits) Rate { return l.MessagesPerLogin })
	}
	return r.count("client-messages "+Client(client).String(), func(l *RateLimits) Rate { return l.MessagesPerClient })
}

// Recipient counts a recipient of a login, as Message does.
func (r *Rates) Recipient(login string) time.Duration {
	return r.count("login-recipients "+strings.ToLower(login), func(l *RateLimits) Rate { return l.RecipientsPerLogin })
}

func (r *Rates) count(key string, of func(*RateLimits) Rate) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	rate, shared := of(&r.limits), r.shared
	if rate.N <= 0 || len(key) > maxBucket {
		return 0
	}
	if shared != nil {
		r.mu.Unlock()
		wait, ok := shared.take(key, rate)
		r.mu.Lock()
		if ok {
			return wait
		}
	}
	return r.take(key, rate)
}

func (r *Rates) take(key string, rate Rate) time.Duration {
	now := r.now()
	full := r.full[key]
	if full.Before(now) {
		full = now
	}
	if empty := now.Add(rate.Per); full.After(empty) { // the clock went back, or the limit was another
		full = empty
		r.keep(key, full, now)
		r.changed = true
	}
	full = full.Add(rate.Per / time.Duration(rate.N))
	if wait := full.Sub(now) - rate.Per; wait > 0 {
		return wait
	}
	r.keep(key, full, now)
	r.changed = true
	return 0
}

// keep stores a bucket. Where there are too many, one that is full goes, or of a few (a map's order is random) the one
// that will be soonest.
func (r *Rates) keep(key string, full, now time.Time) {
	const sample = 16
	if _, known := r.full[key]; !known && len(r.full) >= maxBuckets {
		var soonest string
		seen := 0
		for k, at := range r.full {
			if soonest == "" || at.Before(r.full[soonest]) {
				soonest = k
			}
			if seen++; seen == sample || !at.After(now) {
				break
			}
		}
		delete(r.full, soonest)
	}
	r.full[key] = full
}

// ratesState is the file of Save: when each bucket is full again, in milliseconds since 1970.
type ratesState struct {
	V    int              `json:"v"`
	Full map[string]int64 `json:"full"`
}

// Save writes what is counted to a file of mode 0600, unless nothing has changed since the last time.
func (r *Rates) Save(path string) error {
	r.mu.Lock()
	if !r.changed {
		r.mu.Unlock()
		return nil
	}
	st, now := ratesState{V: 1, Full: map[string]int64{}}, r.now()
	for k, at := range r.full {
		if at.After(now) {
			st.Full[k] = at.UnixMilli()
		} else {
			delete(r.full, k)
		}
	}
	r.changed = false
	r.mu.Unlock()
	b, err := json.Marshal(st)
	if err == nil {
		err = renameio.WriteFile(path, b, 0o600)
	}
	if err != nil {
		r.mu.Lock()
		r.changed = true
		r.mu.Unlock()
	}
	return err
}

// Load reads what Save wrote; that there is no file is no error. On any other, the buckets are full.
func (r *Rates) Load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st ratesState
	if err := json.NewDecoder(io.LimitReader(f, maxRatesState)).Decode(&st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.V != 1 {
		return fmt.Errorf("%s: version %d, want 1", path, st.V)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for k, ms := range st.Full {
		if at := time.UnixMilli(ms); at.After(now) && len(k) <= maxBucket && len(r.full) < maxBuckets {
			r.full[k] = at
		}
	}
	return nil
}
