package tlsrpt

import "time"

const (
	maxHistory   = 50000               // domains
	rememberFor  = 30 * 24 * time.Hour // a level counts as long as it was reached within this time
	complainOnce = 24 * time.Hour      // a domain
)

// known is the best that connections to a domain have been.
type known struct {
	Level    Level     `json:"level"`
	Reached  time.Time `json:"reached"`           // when last
	Reported time.Time `json:"reported,omitzero"` // when a worse one was last logged
}

type history struct {
	domains map[string]known
	dirty   bool
}

func newHistory() history { return history{domains: map[string]known{}} }

// note takes in the level of a connection that can carry mail, and says whether it is worse than what is known.
func (h *history) note(s Session, now time.Time) (was Level, worse bool) {
	if !s.Usable {
		return 0, false
	}
	k, ok := h.domains[s.Domain]
	switch {
	case !ok || s.Level > k.Level || now.Sub(k.Reached) > rememberFor:
		if !ok && len(h.domains) >= maxHistory {
			h.prune(now)
		}
		if s.Level == Clear { // nothing can be worse
			if ok {
				delete(h.domains, s.Domain)
				h.dirty = true
			}
			return 0, false
		}
		h.domains[s.Domain] = known{Level: s.Level, Reached: now}
		h.dirty = true
	case s.Level == k.Level:
		if now.Sub(k.Reached) > time.Hour { // to the hour is enough, and spares the disk
			k.Reached = now
			h.domains[s.Domain] = k
			h.dirty = true
		}
	case now.Sub(k.Reported) > complainOnce:
		k.Reported = now
		h.domains[s.Domain] = k
		h.dirty = true
		return k.Level, true
	}
	return 0, false
}

// prune forgets what is old; where nothing is, some domains, in the map's random order.
func (h *history) prune(now time.Time) {
	for d, k := range h.domains {
		if now.Sub(k.Reached) > rememberFor {
			delete(h.domains, d)
		}
	}
	for d := range h.domains {
		if len(h.domains) < maxHistory {
			return
		}
		delete(h.domains, d)
	}
}
