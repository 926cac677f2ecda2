package directory

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// A success is good for cacheTime from its check, however often it is used; maxCached bounds the memory (some 64 octets each).
const (
	cacheTime = 5 * time.Minute
	maxCached = 10_000
)

type cacheKey [sha256.Size]byte

// cache remembers which logins succeeded. It holds no password: a key is an HMAC, under a key of this process alone, over
// the login, its verifiers and the password, so that a changed verifier is another entry.
type cache struct {
	secret [32]byte
	now    func() time.Time

	mu   sync.Mutex // guards good
	good map[cacheKey]time.Time
}

func newCache(now func() time.Time) *cache {
	c := &cache{now: now, good: map[cacheKey]time.Time{}}
	_, _ = rand.Read(c.secret[:]) // never fails: crypto/rand ends the program first
	return c
}

func (c *cache) key(identity string, vs []verifier, password string) (k cacheKey) {
	h := hmac.New(sha256.New, c.secret[:])
	put := func(s string) { // with its length in front, so that no two lists look alike
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		_, _ = h.Write(n[:])
		_, _ = io.WriteString(h, s)
	}
	put(identity)
	put(password)
	for _, v := range vs {
		put(v.scheme)
		put(v.text)
	}
	h.Sum(k[:0])
	return k
}

func (c *cache) has(k cacheKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.good[k]
	if ok && !c.now().Before(until) {
		delete(c.good, k)
		return false
	}
	return ok
}

func (c *cache) add(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.good) >= maxCached {
		for old, until := range c.good {
			if !now.Before(until) {
				delete(c.good, old)
			}
		}
	}
	if len(c.good) >= maxCached { // none has expired: any one goes, and costs its owner a check
		for old := range c.good {
			delete(c.good, old)
			break
		}
	}
	c.good[k] = now.Add(cacheTime)
}
