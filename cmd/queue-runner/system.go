package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

const (
	// maxPerUser is how many deliveries to one user, or to one program, there are at once: one whose programs hang holds up
	// no other's mail.
	maxPerUser = 4
	// turnTime is how long a delivery waits for its turn among these; where none of them has ended for as long, it does not wait.
	turnTime = 5 * time.Second
)

// system delivers by as-user.
type system struct {
	helper asuser.Client
	host   string
	path   string // mailboxes.system_path
	turns  *turns
}

var _ runner.System = system{}

func (b *builder) system(c *config.Config) system {
	return system{asuser.Client{Path: filepath.Join(c.Run, "as-user", asuser.SocketName)}, c.Hostname, c.Mailboxes.SystemPath, b.turns}
}

// Deliver implements runner.System.
func (s system) Deliver(ctx context.Context, r runner.SystemRequest) (mta.Outcome, []asuser.Target) {
	key, text := "user "+r.User, "the recipient's account cannot be reached at the moment"
	if r.Program != "" {
		key, text = "program "+r.Program, "the recipient's program cannot be reached at the moment"
	}
	if !s.turns.take(ctx, key) {
		return mta.Outcome{Code: 451, Enhanced: "4.3.2", Text: "other deliveries to the recipient are still under way", Cause: fmt.Errorf("%s has %d deliveries under way", key, maxPerUser)}, nil
	}
	defer s.turns.give(key)
	o, targets, err := s.deliver(ctx, r)
	if err != nil {
		return mta.Outcome{Code: 451, Enhanced: "4.3.0", Text: text, Cause: fmt.Errorf("%s: %w", key, err)}, nil
	}
	return o, targets
}

// deliver has the process started, gives it the message, and reads what it says.
func (s system) deliver(ctx context.Context, r runner.SystemRequest) (o mta.Outcome, targets []asuser.Target, err error) {
	in, message, err := os.Pipe()
	if err != nil {
		return o, nil, err
	}
	defer message.Close()
	result, out, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return o, nil, err
	}
	defer result.Close()
	type said struct {
		o       mta.Outcome
		targets []asuser.Target
		err     error
	}
	heard := make(chan said, 1)
	go func() {
		o, targets, err := asuser.ReadResult(result)
		heard <- said{o, targets, err}
	}()
	sent := make(chan error, 1)
	go func() {
		sent <- s.send(message, r)
		_ = message.Close()
	}()
	run, what := s.helper.Deliver, r.User
	if r.Program != "" {
		run, what = s.helper.Program, r.Program
	}
	status, err := run(ctx, what, in, out)
	// The process has ended: whoever else has its ends of the pipes is not waited for.
	_ = message.Close()
	serr := <-sent
	_ = result.SetReadDeadline(time.Now().Add(time.Second))
	got := <-heard
	switch {
	case err != nil:
		return o, nil, err
	case got.err != nil && status != 0:
		return o, nil, fmt.Errorf("deliver-local ended with status %d", status)
	case got.err != nil:
		return o, nil, got.err
	case got.o.Status == mta.Delivered && serr != nil:
		return o, nil, fmt.Errorf("the message was not taken whole: %w", serr)
	}
	return got.o, got.targets, nil
}

// send writes what deliver-local reads.
func (s system) send(w io.Writer, r runner.SystemRequest) error {
	var size counter
	if err := local.Render(&size, r.Request); err != nil {
		return err
	}
	head, err := json.Marshal(asuser.Delivery{
		ID: r.ID, Index: r.Index, Host: s.host, Sender: r.ReturnPath, Recipient: r.DeliveredTo, Extension: r.Extension, Folder: r.Folder,
		Mailbox: s.path, Target: r.Target, Look: r.Look, Size: int64(size),
	})
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head, '\n')); err != nil {
		return err
	}
	return local.Render(w, r.Request)
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// turns bounds what is under way for each key.
type turns struct {
	mu   sync.Mutex // guards open
	open map[string]*turn
}

type turn struct {
	slots chan struct{}
	users int       // who has a slot, or waits for one
	moved time.Time // when a slot was taken or given back
}

func newTurns() *turns { return &turns{open: map[string]*turn{}} }

// take waits for a slot, and says whether there was one in time.
func (t *turns) take(ctx context.Context, key string) bool {
	t.mu.Lock()
	n := t.open[key]
	if n == nil {
		n = &turn{slots: make(chan struct{}, maxPerUser)}
		t.open[key] = n
	}
	hangs := len(n.slots) == cap(n.slots) && time.Since(n.moved) > turnTime
	if !hangs {
		n.users++
	}
	t.mu.Unlock()
	if hangs {
		return false
	}
	late := time.NewTimer(turnTime)
	defer late.Stop()
	select {
	case n.slots <- struct{}{}:
		t.move(n)
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	t.leave(key, n)
	return false
}

// give gives a slot back.
func (t *turns) give(key string) {
	t.mu.Lock()
	n := t.open[key]
	t.mu.Unlock()
	<-n.slots
	t.move(n)
	t.leave(key, n)
}

func (t *turns) move(n *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.moved = time.Now()
}

func (t *turns) leave(key string, n *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(t.open, key)
	}
}
