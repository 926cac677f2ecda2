package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// What an operator may do to a message.
const (
	Hold     = "hold"     // it waits until it is released
	Release  = "release"  // ... and goes on
	Retry    = "retry"    // all recipients that wait are tried now
	Bounce   = "bounce"   // they have failed, and the sender is told
	Remove   = "remove"   // ... and nobody is told
	Redirect = "redirect" // another recipient takes their place
)

var operations = []string{Hold, Release, Retry, Bounce, Remove, Redirect}

// reasons are what is said where the operator says nothing.
var reasons = map[string]string{
	Hold:   "held by the operator",
	Bounce: "returned by the postmaster of this host",
	Remove: "removed by the operator",
}

// Change is what is to be done to messages.
type Change struct {
	Op     string      `json:"op"`
	Reason string      `json:"reason,omitempty"` // of a hold and a bounce; one line
	To     mta.Address `json:"to,omitzero"`      // of a redirection
	By     string      `json:"-"`                // who wants it
	Order  any         `json:"-"`                // what is equal in all changes of one command, nil for one that stands alone
}

// ErrBusy says that nothing was done about a message and nothing will be, because something is under way for it.
var ErrBusy = errors.New("a delivery of it is under way: try again later")

// MaxIDs is how many messages one request may name.
const MaxIDs = 200

// busyTime is how long a change waits for the end of what is under way.
const busyTime = 5 * time.Second

// maxReason bounds a reason, in octets.
const maxReason = 400

// request is a Change and the messages that it is about.
type request struct {
	Change
	IDs []mta.ID `json:"ids"`
}

// Result is what became of a Change of one message: nothing but an error is told.
type Result struct {
	ID    mta.ID `json:"id"`
	Error string `json:"error,omitempty"`
}

func (q *request) check() error {
	switch {
	case !slices.Contains(operations, q.Op):
		return fmt.Errorf("op: %q; allowed: %s", q.Op, strings.Join(operations, ", "))
	case len(q.IDs) == 0 || len(q.IDs) > MaxIDs:
		return fmt.Errorf("ids: %d; allowed: 1 to %d", len(q.IDs), MaxIDs)
	case (q.Op == Redirect) != (q.To.Domain != ""):
		return errors.New("to: an address, for a redirection alone")
	case len(q.Reason) > maxReason || strings.ContainsFunc(q.Reason, unicode.IsControl):
		return fmt.Errorf("reason: one line of at most %d octets", maxReason)
	}
	for _, id := range q.IDs {
		if _, err := mta.ParseID(string(id)); err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
	}
	if q.Reason == "" {
		q.Reason = reasons[q.Op]
	}
	return nil
}

func (s *Server) postChange(w http.ResponseWriter, r *http.Request) {
	var q request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxIDs*(mta.MaxIDLen+4)+4*maxReason))
	d.DisallowUnknownFields()
	err := d.Decode(&q)
	if err == nil {
		err = q.check()
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	q.By = nameOf(peer(r))
	if len(q.IDs) > 1 {
		q.Order = connection(r)
	}
	answer(w, http.StatusOK, s.change(r.Context(), q))
}

func nameOf(uid int) string {
	s := strconv.Itoa(uid)
	if u, err := user.LookupId(s); err == nil {
		return u.Username
	}
	return s
}

// change does something to messages, all at once, and returns when it lasts.
func (s *Server) change(ctx context.Context, q request) []Result {
	ctx, cancel := context.WithTimeout(ctx, busyTime)
	defer cancel()
	out := make([]Result, len(q.IDs))
	var wg sync.WaitGroup
	for i, id := range q.IDs {
		wg.Go(func() {
			err := spool.ErrGone
			if m := s.spool.Find(id); m != nil {
				err = s.schedule.Change(ctx, m, q.Change)
			}
			out[i] = Result{ID: id, Error: told(err)}
		})
	}
	wg.Wait()
	if err := s.spool.Flush(); err != nil {
		for i := range out {
			if out[i].Error == "" {
				out[i].Error = "done, but not written down yet: " + err.Error()
			}
		}
	}
	return out
}

func told(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, spool.ErrGone):
		return errNoMessage.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return ErrBusy.Error()
	}
	return err.Error()
}
