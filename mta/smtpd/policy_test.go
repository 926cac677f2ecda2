package smtpd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// zone is a name server for tests.
type zone struct {
	names []string      // of every address
	slow  time.Duration // for each answer about names
}

func (zone) MX(_ context.Context, domain string) ([]dns.MX, error) {
	switch domain {
	case "away.test":
		return []dns.MX{{Pref: 10, Host: "mx.away.test"}}, nil
	case "null.test":
		return nil, fmt.Errorf("MX of %s: %w", domain, dns.ErrNullMX)
	case "host.test", "empty.test", "halfbroken.test":
		return nil, dns.ErrNoData
	case "broken.test":
		return nil, errors.New("server 192.0.2.53:53: SERVFAIL")
	}
	return nil, dns.ErrNotFound
}

func (z zone) Addrs(ctx context.Context, host string, _ bool) ([]netip.Addr, error) {
	switch host {
	case "host.test", "client.test":
		return []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1")}, nil
	case "liar.test":
		return []netip.Addr{netip.MustParseAddr("198.51.100.9")}, nil
	case "halfbroken.test":
		return nil, errors.New("timeout")
	}
	return nil, dns.ErrNoData
}

func (z zone) Name(ctx context.Context, _ netip.Addr) ([]string, error) {
	select {
	case <-time.After(z.slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(z.names) == 0 {
		return nil, dns.ErrNotFound
	}
	return z.names, nil
}

func TestAClientHasANameWhenThatNameHasItsAddress(t *testing.T) {
	many := []string{"liar.test", "liar.test", "liar.test", "liar.test", "client.test"}
	for _, c := range []struct {
		name string
		z    zone
		want string // the client's name
	}{
		{"confirmed", zone{names: []string{"client.test"}}, "client.test"},
		{"the second of two", zone{names: []string{"liar.test", "client.test"}}, "client.test"},
		{"of somebody else", zone{names: []string{"liar.test"}}, ""},
		{"a name without an address", zone{names: []string{"nothing.test"}}, ""},
		{"more names than anybody needs", zone{names: many}, ""},
		{"no name", zone{}, ""},
		{"in time", zone{names: []string{"client.test"}, slow: 9 * time.Second}, "client.test"},
		{"too late", zone{names: []string{"client.test"}, slow: time.Hour}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(o *smtpd.Options) { o.Resolver = c.z }, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
				cl := newClient(t, ln)
				cl.toData()
				cl.send("x\r\n.\r\n")
				cl.expect("250 ")
				e := q.all()[0].envelope
				from := "[192.0.2.1]"
				if c.want != "" {
					from = c.want + " [192.0.2.1]"
				}
				if e.Origin.Name != c.want || !strings.HasPrefix(e.Prepend, "Received: from c ("+from+")\r\n") {
					t.Errorf("got %q and %q, want %q", e.Origin.Name, e.Prepend, c.want)
				}
			})
		})
	}
}

func TestFiltersKnowTheClientsName(t *testing.T) {
	f := &filters{}
	inBubble(t, func(o *smtpd.Options) {
		o.Resolver, o.Filters = zone{names: []string{"liar.test", "client.test"}, slow: 3 * time.Second}, f
	}, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		c := newClient(t, ln)
		c.send("QUIT\r\n")
		c.expect("221 ")
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.events) != 1 || f.events[0].Stage != mta.AtConnect || f.events[0].Name != "client.test" {
			t.Errorf("got the events %+v, want the verified name at the first", f.events)
		}
	})
}

func TestAStageForWhichNoFilterCaresDoesNotWaitForTheName(t *testing.T) {
	f := &filters{idle: []mta.Stage{mta.AtConnect, mta.AtHello}}
	inBubble(t, func(o *smtpd.Options) {
		o.Resolver, o.Filters = zone{names: []string{"client.test"}, slow: 5 * time.Second}, f
	}, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		begin := time.Now()
		c := newClient(t, ln)
		c.send("HELO c\r\n")
		c.expect("250 ")
		if d := time.Since(begin); d != 0 {
			t.Errorf("greeted after %v, want at once", d)
		}
		c.send("MAIL FROM:<>\r\n")
		c.expect("250 ")
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.events) != 1 || f.events[0].Stage != mta.AtSender || f.events[0].Name != "client.test" {
			t.Errorf("got the events %+v, want MAIL's alone, with the name", f.events)
		}
	})
}

func TestTheLookForANameEndsWithTheSession(t *testing.T) {
	inBubble(t, func(o *smtpd.Options) { o.Resolver = zone{slow: time.Hour} }, func(t *testing.T, ln *pipes, _ *queue, stop func() error) {
		c := newClient(t, ln)
		begin := time.Now()
		c.send("QUIT\r\n")
		c.expect("221 ")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("the session ended after %v, want at once", d)
		}
	})
}

func TestGreetDelay(t *testing.T) {
	delay := func(o *smtpd.Options) { o.GreetDelay = 5 * time.Second }
	inBubble(t, delay, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		begin := time.Now()
		c := newClient(t, ln)
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("greeted after %v, want 5s", d)
		}
		c.send("NOOP\r\n")
		c.expect("250 ")
		c.expect("421 4.4.2 ") // idle_timeout is what it was
		if d := time.Since(begin); d != 5*time.Second+5*time.Minute {
			t.Errorf("closed after %v, want 5m5s", d)
		}
	})
	inBubble(t, delay, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		nc := ln.dial()
		c := &client{t, nc, bufio.NewReader(nc)}
		go func() { _, _ = io.WriteString(nc, "EHLO spam\r\n") }()
		c.expect("554 5.5.0 ")
		c.expectEnd()
	})
	inBubble(t, func(o *smtpd.Options) {
		delay(o)
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		begin := time.Now()
		newClient(t, ln)
		if d := time.Since(begin); d != 0 {
			t.Errorf("a trusted client waits %v, want not at all", d)
		}
	})
	inBubble(t, delay, func(t *testing.T, ln *pipes, _ *queue, stop func() error) { // a stop does not wait for it
		nc := ln.dial()
		c := &client{t, nc, bufio.NewReader(nc)}
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		c.expect("421 4.3.2 ")
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestWhoGuessesRecipientsWaitsLongerAndLonger(t *testing.T) {
	inBubble(t, func(o *smtpd.Options) { o.UnknownDelays, o.MaxErrors = guard.NewUnknownDelay(nil), 100 }, func(t *testing.T, ln *pipes, _ *queue, stop func() error) {
		c := newClient(t, ln)
		c.send("HELO c\r\n")
		c.expect("250 ")
		c.send("MAIL FROM:<a@away.test>\r\n")
		c.expect("250 ")
		for i, want := range []time.Duration{0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30} {
			begin := time.Now()
			c.send(fmt.Sprintf("RCPT TO:<user%d@here.test>\r\n", i))
			c.expect("550 5.1.1 ")
			if d := time.Since(begin); d != want*time.Second {
				t.Errorf("unknown recipient %d: after %v, want %ds", i, d, want)
			}
		}
		begin := time.Now()
		c.send("RCPT TO:<alice@here.test>\r\n")
		c.expect("250 ")
		c.send("RCPT TO:<x@elsewhere.test>\r\n")
		c.expect("550 5.7.1 ")
		if d := time.Since(begin); d != 0 {
			t.Errorf("other recipients: after %v, want at once", d)
		}
		other := newClient(t, ln) // the same client again
		other.send("HELO c\r\nMAIL FROM:<a@away.test>\r\n")
		other.expect("250 ")
		other.expect("250 ")
		other.send("RCPT TO:<yet@here.test>\r\n")
		other.expect("550 5.1.1 ")
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("on another connection: after %v, want 30s", d)
		}
		c.send("RCPT TO:<again@here.test>\r\n")
		synctest.Wait()
		begin = time.Now()
		go func() { _, _ = c.br.ReadString('\n'); _, _ = io.Copy(io.Discard, c.nc) }()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("a stop waits %v for it", d)
		}
	})
}
