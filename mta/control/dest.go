package control

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// How a destination stands.
const (
	DestUp      = "up"      // the last transaction found it well
	DestUnknown = "unknown" // there was none yet
	DestFailing = "failing" // the last one did not; its window shrinks
	DestDead    = "dead"    // nothing is tried until a moment
	DestTrial   = "trial"   // ... which is over: one transaction shows whether it lives again
	DestLookup  = "lookup"  // its hosts are being looked up
	DestStalled = "stalled" // of the mailboxes: the spool cannot be written, and nothing begins, here and elsewhere
)

// LocalDest is the name of the destination that stands for the mailboxes of this host, and for all that is done about
// a message without the network.
const LocalDest = "(local)"

// Destination is a set of hosts that take mail, for however many domains, and how it stands.
type Destination struct {
	Name        string    `json:"name"`
	Domains     []string  `json:"domains,omitempty"` // and routes that lead there, as far as they are known just now
	State       string    `json:"state"`
	Reason      string    `json:"reason,omitempty"` // why it is not up
	Window      int       `json:"window"`           // transactions that it may have at once
	Connections int       `json:"connections"`      // transactions under way, each on a connection of its own
	Queued      int       `json:"queued"`           // transactions that wait for their turn
	Waiting     int       `json:"waiting"`          // messages that wait for it in the spool
	Until       time.Time `json:"until,omitzero"`   // when a dead one is tried again
	Success     time.Time `json:"success,omitzero"` // the last one
}

func (s *Server) getDestinations(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	list, err := s.schedule.Destinations(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoTime
	}
	if err != nil {
		failAs(w, err)
		return
	}
	answer(w, http.StatusOK, list)
}

// Destinations tells how the destinations stand that have mail, or had some within the last minutes, by name.
func (c *Client) Destinations(ctx context.Context) (list []Destination, err error) {
	return list, c.get(ctx, "/destinations", &list)
}
