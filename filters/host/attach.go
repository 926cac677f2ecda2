package host

import (
	"context"
	"os"
	"path/filepath"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// Attach makes a Host of one filter that is there already: described, configured and activated as New would do it, but
// without a process that is watched. It is how filters/filtertest holds a filter to what a host wants of it.
func Attach(ctx context.Context, o Options, name string, f proto.FilterClient) (*Host, error) {
	o.Enabled = []string{name}
	if err := o.makeDirs(); err != nil {
		return nil, err
	}
	set, err := o.readSettings(name)
	if err != nil {
		return nil, err
	}
	p := &process{set: set, filter: f}
	if err := os.MkdirAll(filepath.Join(o.State, name), 0o700); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp(filepath.Join(o.Run, "plugins"), name+"-"); err != nil {
		return nil, err
	}
	if err = p.introduce(ctx, &o, name); err == nil {
		err = p.activate(ctx, &o)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	s := newSlot(name, &o)
	ctx, s.cancel = context.WithCancel(context.Background())
	s.publish(p)
	s.first()
	h := &Host{notices: make(chan struct{}, maxNotices)}
	h.options.Store(&o)
	h.chain.Store(&[]*slot{s})
	h.running.Go(func() {
		<-ctx.Done()
		<-s.withdraw(false, "ended", nil)
		p.end()
	})
	return h, nil
}
