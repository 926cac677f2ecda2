package mtasts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

const (
	refreshEvery = 24 * time.Hour      // a policy that is kept is fetched again so often (RFC 8461 3.3, 10.2)
	sweepEvery   = time.Hour           // and looked at so often
	unusedFor    = 30 * 24 * time.Hour // one that nobody asks for is not fetched any more
)

// entry is one file: a policy as it was fetched. The file's date is when the policy was last of use.
type entry struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Fetched time.Time `json:"fetched"`
	Text    string    `json:"policy"`

	policy *Policy
	used   atomic.Int64 // when the file's date was last set, in seconds
}

func (e *entry) expired(now time.Time) bool { return !now.Before(e.Fetched.Add(e.policy.MaxAge)) }

// policyInForce leaves out a policy that says that there is none.
func (e *entry) policyInForce() *Policy {
	if e == nil || e.policy.Mode == None {
		return nil
	}
	return e.policy
}

// path is the file of a domain, which dns.ASCII has made safe: letters, digits, hyphens, underscores, and dots inside.
func (c *Cache) path(domain string) (string, error) {
	if a, err := dns.ASCII(domain); err != nil || a != domain {
		return "", fmt.Errorf("%.80q: %w", domain, dns.ErrBadName)
	}
	return filepath.Join(c.opt.Dir, domain), nil
}

func (c *Cache) save(e *entry) error {
	path, err := c.path(e.Domain)
	if err != nil || c.opt.ReadOnly {
		return err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o600)
}

func (c *Cache) load(domain string) (*entry, error) {
	path, err := c.path(domain)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, 8*maxPolicy))
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if e.Domain != domain {
		return nil, fmt.Errorf("%s: is of %.80q", path, e.Domain)
	}
	if e.policy, err = ParsePolicy(e.Text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// use dates the file of a policy that was of use, once a day.
func (c *Cache) use(e *entry) {
	if e == nil || c.opt.ReadOnly {
		return
	}
	now := c.opt.Now()
	if last := e.used.Load(); now.Unix()-last < int64(refreshEvery/time.Second) || !e.used.CompareAndSwap(last, now.Unix()) {
		return
	}
	if path, err := c.path(e.Domain); err == nil {
		_ = os.Chtimes(path, now, now) // at the worst the policy is not refreshed, and fetched anew when it is needed
	}
}

// Run refreshes the policies that are kept, so that they do not run out while mail goes to their domains, and removes
// those that have run out. It returns when ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		c.sweep(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Cache) sweep(ctx context.Context) {
	dir, err := os.Open(c.opt.Dir)
	if err != nil {
		c.opt.Log.MTASTSError("", "sweep", err)
		return
	}
	defer func() { _ = dir.Close() }() // only read
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			if name[0] != '.' { // not the remains of a write that was broken off
				c.renew(ctx, name)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.opt.Log.MTASTSError("", "sweep", err)
			}
			return
		}
	}
}

// renew fetches one policy anew where it is time, and removes it where its time is over.
func (c *Cache) renew(ctx context.Context, domain string) {
	path, err := c.path(domain)
	if err != nil {
		return // no file of ours
	}
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	e, err := c.load(domain)
	now := c.opt.Now()
	if err != nil || e.expired(now) {
		c.forget(domain)
		if err := os.Remove(path); err != nil {
			c.opt.Log.MTASTSError(domain, "remove", err)
		}
		return
	}
	if now.Sub(e.Fetched) < min(refreshEvery, e.policy.MaxAge/2) || now.Sub(info.ModTime()) > unusedFor {
		return
	}
	texts, err := c.opt.Resolver.TXT(ctx, "_mta-sts."+domain)
	if id, ok := parseRecord(texts); err == nil && ok {
		if fresh, err := c.update(ctx, domain, id); err == nil {
			fresh.used.Store(info.ModTime().Unix())
			_ = os.Chtimes(path, info.ModTime(), info.ModTime()) // that we fetched it is no use of it
		}
	}
}

func (c *Cache) forget(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, domain)
}
