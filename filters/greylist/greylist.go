// Package greylist is the filter greylist: it lets a client that nobody has seen with this sender and recipient come again, which
// those who send spam seldom do (RFC 6647). cmd/filter starts it; posthouse-filters(7) describes its settings.
package greylist

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
)

// Filter is the filter.
type Filter struct {
	Version string
	Now     func() time.Time // default time.Now
	AskTime time.Duration    // how long the store of several hosts may take to answer; default 3 s

	set     settings
	site    filters.Site
	store   store
	failing atomic.Bool // the store's last answer was none
}

// store knows triplets by their key.
type store interface {
	// seen counts a try at a time, and says for how long it is too early; 0 = it may pass.
	seen(ctx context.Context, key [32]byte, now time.Time) (time.Duration, error)
	Close() error
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "greylist", Version: f.Version, Summary: "lets unknown clients try again later", Roles: []string{filters.RoleMX}, EnvelopeOnly: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	var err error
	if f.set, err = read(s); err != nil {
		return err
	}
	f.site = *site
	if f.Now == nil {
		f.Now = time.Now
	}
	if site.SharedStoreURL != "" {
		f.store, err = openShared(site.SharedStoreURL, cmp.Or(f.AskTime, askTime), &f.set)
	}
	return err
}

// Activate implements filters.Activator: it opens the store of this host alone, which two processes cannot have at once.
func (f *Filter) Activate(context.Context) error {
	if f.store != nil {
		return nil
	}
	var err error
	f.store, err = openLocal(filepath.Join(f.site.StateDirectory, "triplets.db"), &f.set, f.Now)
	return err
}

// Close implements filters.Closer.
func (f *Filter) Close() error {
	if f.store == nil {
		return nil
	}
	return f.store.Close()
}

// Recipient implements filters.RecipientChecker.
func (f *Filter) Recipient(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	ip := e.Client.Addr().Unmap()
	if e.Login != "" || f.skips(e, ip) {
		return nil, nil
	}
	wait, err := f.store.seen(ctx, f.key(ip, e.Sender, e.Recipient), f.Now())
	if was := f.failing.Swap(err != nil); err != nil {
		if !was {
			filters.Log().Log(ctx, slog.LevelError, "the store does not answer: everybody passes", "err", err)
		}
		return nil, nil
	}
	if wait <= 0 {
		return nil, nil
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	return &filters.Verdict{Action: filters.TempFail, Code: 451, Enhanced: "4.7.1", Text: fmt.Sprintf("Greylisted, try again in %d seconds", seconds)}, nil
}

func (f *Filter) skips(e *filters.Event, ip netip.Addr) bool {
	if !ip.IsValid() || ip.IsLoopback() || slices.ContainsFunc(f.set.skip, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return true
	}
	name := strings.ToLower(e.ClientName)
	if slices.ContainsFunc(f.set.SkipNames, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) }) {
		return true
	}
	return f.set.SkipSPF && slices.ContainsFunc(e.Find("spf"), func(n filters.Note) bool { return n.Result == "pass" })
}

// key is a triplet's, in which nobody can read who writes to whom. Numbers in the sender count as one: senders of lists have
// another for each message.
func (f *Filter) key(ip netip.Addr, sender, rcpt string) [32]byte {
	bits := f.set.IPv4
	if !ip.Is4() {
		bits = f.set.IPv6
	}
	network, _ := ip.WithZone("").Prefix(bits) // the bits were checked
	local, domain, _ := strings.Cut(strings.ToLower(sender), "@")
	return sha256.Sum256([]byte(network.String() + "\x00" + numberless(local) + "@" + domain + "\x00" + strings.ToLower(rcpt)))
}

func numberless(s string) string {
	var b strings.Builder
	was := false
	for _, r := range s {
		is := r >= '0' && r <= '9'
		if is && !was {
			b.WriteByte('#')
		} else if !is {
			b.WriteRune(r)
		}
		was = is
	}
	return b.String()
}
