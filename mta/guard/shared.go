package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/redis"
)

// Bounds of what the shared place costs who waits for it: a question, and the rest after one that was not answered.
const (
	askTime  = time.Second
	restTime = 5 * time.Second
)

// Shared is where several hosts count together: Redis 5 or later, or what speaks like it. Its clock is the only one, so that
// those of the hosts need not agree. What is there forgets itself when it no longer counts. While it does not answer each
// host counts for itself, and asks again every five seconds. It is safe for use by many goroutines.
type Shared struct {
	db  *redis.Pool
	log *maillog.Log
	now func() time.Time

	closed atomic.Bool
	rests  atomic.Int64 // until then nobody asks; nanoseconds since 1970

	mu   sync.Mutex // guards away
	away bool
}

// OpenShared takes the URL of shared.redis_url_file, which no error shows: it may hold a password. It connects to nothing yet. now is
// the clock of the rests, nil = time.Now.
func OpenShared(url string, log *maillog.Log, now func() time.Time) (*Shared, error) {
	return openShared(url, askTime, log, now)
}

func openShared(url string, each time.Duration, log *maillog.Log, now func() time.Time) (*Shared, error) {
	db, err := redis.Open(url, each)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Shared{db: db, log: log, now: now}, nil
}

// Close ends the connections. Who still counts there counts for itself.
func (s *Shared) Close() error {
	s.closed.Store(true)
	return s.db.Close()
}

// Counter counts, for itself or in a Shared.
type Counter interface{ Share(*Shared) }

// Sharing follows a configuration that may change. The zero value shares nothing.
type Sharing struct {
	url string
	at  *Shared
}

// Use has all counters count at a URL, "" = each host for itself. Connections go on where it is the one of before.
func (g *Sharing) Use(url string, log *maillog.Log, all ...Counter) error {
	if url == g.url {
		return nil
	}
	var at *Shared
	if url != "" {
		var err error
		if at, err = OpenShared(url, log, nil); err != nil {
			return err
		}
	}
	for _, c := range all {
		c.Share(at)
	}
	if g.at != nil {
		_ = g.at.Close() // who still asks there counts for itself this once
	}
	g.url, g.at = url, at
	return nil
}

// run asks one script; false where there is no answer.
func (s *Shared) run(script *redis.Script, keys []string, args ...any) ([]int64, bool) {
	now := s.now()
	rests := s.rests.Load()
	if now.UnixNano() < rests {
		return nil, false
	}
	if rests > 0 && !s.rests.CompareAndSwap(rests, now.Add(restTime).UnixNano()) { // one tries for all
		return nil, false
	}
	numbers, err := s.db.Run(context.Background(), script, keys, args...)
	if !s.closed.Load() {
		s.heard(err)
	}
	return numbers, err == nil
}

// heard tells the log of each change.
func (s *Shared) heard(err error) {
	if err == nil {
		s.rests.Store(0)
	} else {
		s.rests.Store(s.now().Add(restTime).UnixNano())
	}
	s.mu.Lock()
	was := s.away
	s.away = err != nil
	s.mu.Unlock()
	switch {
	case err != nil && !was:
		s.log.SharedAway(s.db.Address(), err)
	case err == nil && was:
		s.log.SharedBack(s.db.Address())
	}
}

// take is Rates.take on a bucket of all hosts. Times are in microseconds.
func (s *Shared) take(key string, rate Rate) (time.Duration, bool) {
	step := max(rate.Per/time.Duration(rate.N), time.Microsecond)
	n, ok := s.run(takeScript, []string{sharedKey("rate", key)}, rate.Per.Microseconds(), step.Microseconds())
	if !ok || len(n) != 1 {
		return 0, false
	}
	return time.Duration(n[0]) * time.Microsecond, true
}

// failed returns what is left of the failures of a client and of a login, after it has counted one more where that is asked for.
// A client that is not known has none.
func (s *Shared) failed(client netip.Prefix, login string, one bool) (ofClient, ofLogin int, ok bool) {
	keys := []string{sharedKey("login", strings.ToLower(login))}
	if client.IsValid() {
		keys = append(keys, sharedKey("client", client.String()))
	}
	more := 0
	if one {
		more = 1
	}
	n, ok := s.run(failuresScript, keys, more, forgetAfter.Milliseconds(), maxFailures)
	if !ok || len(n) != len(keys) {
		return 0, 0, false
	}
	if client.IsValid() {
		ofClient = int(n[1])
	}
	return ofClient, int(n[0]), true
}

// forgive forgets the failures of a client that has logged in, unless there are many.
func (s *Shared) forgive(client netip.Prefix) {
	if client.IsValid() {
		s.run(forgiveScript, []string{sharedKey("client", client.String())}, forgetAfter.Milliseconds(), maxFailures, loginGrace)
	}
}

// sharedKey has one length, and shows nobody's name to who looks into the shared place.
func sharedKey(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("posthouse:%s:%s", kind, hex.EncodeToString(sum[:16]))
}

// takeScript keeps the moment at which a bucket will be full again. It answers with 0, or with how long to wait. What the key
// holds that is none of ours counts as a full bucket.
var takeScript = redis.NewScript(`
local t = redis.call('TIME')
local now, per, step = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '') or now
full = math.min(math.max(full, now), now + per) + step
local wait = full - now - per
if wait > 0 then
	return {wait}
end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {0}
`)

// left is what is left of a key's failures: "COUNT MILLISECONDS", halved for each time that has passed without one.
const left = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function left(key, half, most)
	local n, at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
	if not n then
		return 0
	end
	local halves = math.max(0, math.floor((now - tonumber(at)) / half))
	return math.floor(math.min(tonumber(n), most) / 2 ^ math.min(halves, 32))
end
`

var failuresScript = redis.NewScript(left + `
local more, half, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local all = {}
for i, key in ipairs(KEYS) do
	local n = left(key, half, most)
	if more > 0 then
		n = math.min(n + 1, most)
		redis.call('SET', key, string.format('%d %.0f', n, now), 'PX', half * 5)
	end
	all[i] = n
end
return all
`)

var forgiveScript = redis.NewScript(left + `
if left(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])) <= tonumber(ARGV[3]) then
	redis.call('DEL', KEYS[1])
end
return {0}
`)
