package remote

import (
	"sync"
	"time"
)

// How long an address that did not work stands behind the others, and how many are remembered.
const (
	asideFor = 2 * time.Minute
	maxAside = 10000
)

// aside remembers addresses that could not be reached, or sent a message away before they had heard it.
type aside struct {
	mu    sync.Mutex // guards until
	until map[string]time.Time
}

func (a *aside) put(p peer, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.until) >= maxAside {
		for k, t := range a.until {
			if !now.Before(t) {
				delete(a.until, k)
			}
		}
		if len(a.until) >= maxAside {
			clear(a.until) // knowing nothing costs no more than some attempts
		}
	}
	a.until[p.String()] = now.Add(asideFor)
}

// part parts peers into those of which nothing bad is known and the others.
func (a *aside) part(peers []peer, now time.Time) (good, bad []peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range peers {
		k := p.String()
		switch t, known := a.until[k]; {
		case !known:
			good = append(good, p)
		case now.Before(t):
			bad = append(bad, p)
		default:
			delete(a.until, k)
			good = append(good, p)
		}
	}
	return good, bad
}
