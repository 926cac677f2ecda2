package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// maxNotices bounds the notifications Done under way; more are lost.
const maxNotices = 64

// Host is the set of the enabled filters.
type Host struct {
	options atomic.Pointer[Options]
	chain   atomic.Pointer[[]*slot]
	notices chan struct{}
	telling sync.WaitGroup
	running sync.WaitGroup // a supervisor each

	mu     sync.Mutex // guards below, and the changes of chain
	closed bool
}

// New removes what an earlier run has left in its folders, starts the enabled filters, and waits until each was tried once. A filter that cannot start is no error: on_failure says what becomes of mail.
func New(ctx context.Context, o Options) (*Host, error) {
	for _, dir := range []string{"plugins", "filters"} {
		if err := sweep(filepath.Join(o.Run, dir)); err != nil {
			return nil, err
		}
	}
	h := &Host{notices: make(chan struct{}, maxNotices)}
	h.chain.Store(&[]*slot{})
	if err := h.SetOptions(o); err != nil {
		return nil, err
	}
	for _, s := range *h.chain.Load() {
		select {
		case <-s.tried:
		case <-ctx.Done():
			h.Close()
			return nil, context.Cause(ctx)
		}
	}
	return h, nil
}

func sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// SetOptions puts other options in force: filters that are new in the list are started, those that are gone are ended, all
// others stay, and are replaced by themselves where they have to learn something new. It checks names before all.
func (h *Host) SetOptions(o Options) error {
	for i, name := range o.Enabled {
		if !nameForm.MatchString(name) {
			return fmt.Errorf("filters.enabled: %q is no name for a filter: a-z, 0-9 and - are allowed", name)
		}
		if slices.Contains(o.Enabled[:i], name) {
			return fmt.Errorf("filters.enabled: %q stands there twice", name)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	if err := o.makeDirs(); err != nil {
		return err
	}
	before := *h.chain.Load()
	next := make([]*slot, 0, len(o.Enabled))
	for _, name := range o.Enabled {
		i := slices.IndexFunc(before, func(s *slot) bool { return s.name == name })
		if i >= 0 {
			before[i].options.Store(&o)
			next = append(next, before[i])
			continue
		}
		s := newSlot(name, &o)
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel = cancel
		h.running.Go(func() { s.supervise(ctx) })
		next = append(next, s)
	}
	h.options.Store(&o)
	h.chain.Store(&next)
	for _, s := range before {
		if !slices.Contains(next, s) {
			s.cancel()
			o.Log.FilterEnded(s.name, "no longer enabled")
		}
	}
	return nil
}

// makeDirs makes the folders that filters need.
func (o *Options) makeDirs() error {
	if len(o.Enabled) == 0 {
		return nil
	}
	for _, dir := range []string{filepath.Join(o.Run, "plugins"), filepath.Join(o.Run, "filters"), o.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all filters, and waits for that.
func (h *Host) Close() {
	h.mu.Lock()
	h.closed = true
	list := *h.chain.Load()
	h.mu.Unlock()
	h.telling.Wait()
	for _, s := range list {
		s.cancel()
	}
	h.running.Wait()
}

// Session begins to go along with an SMTP session; nil where no filter is enabled.
func (h *Host) Session() *Session {
	if len(*h.chain.Load()) == 0 {
		return nil
	}
	return &Session{h: h}
}

// group is one filter, or several that run at the same time.
type group []*slot

// groups are the filters that a stage of a session asks, in their order.
func (h *Host) groups(stage proto.Stage, role string) []group {
	var list []group
	beside := false // the last group takes others
	for _, s := range *h.chain.Load() {
		asked, p := s.wants(stage, role)
		if !asked {
			continue
		}
		parallel := p != nil && p.info.parallel
		if parallel && beside {
			list[len(list)-1] = append(list[len(list)-1], s)
			continue
		}
		list = append(list, group{s})
		beside = parallel
	}
	return list
}
