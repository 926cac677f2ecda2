package guard

import (
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// OpenSharedFor is OpenShared with another time for each question: a machine may be so busy that a good store needs long.
func OpenSharedFor(url string, each time.Duration, log *maillog.Log, now func() time.Time) (*Shared, error) {
	return openShared(url, each, log, now)
}

// Clients returns how many clients are remembered.
func (c *Conns) Clients() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.clients)
}

// Remembered returns the sizes of the three tables, and the bound of each.
func (d *LoginDelay) Remembered() (clients, logins, friends, bound int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.clients), len(d.logins), len(d.friends), maxRemembered
}

// State returns how many places are taken, by how many clients, and how many wait.
func (t *Turns) State() (taken, clients, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken, len(t.clients), len(t.queue)
}

// Buckets returns how many are remembered.
func (r *Rates) Buckets() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.full)
}

// SharedKey is the name of a key in the shared place.
func SharedKey(kind, name string) string { return sharedKey(kind, name) }

// Away says whether the last question was not answered.
func (s *Shared) Away() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}
