package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
)

// keep returns a client that reuses connections; it is closed before the sinks are.
func (n *network) keep() *remote.Client {
	n.opt.ReuseMax, n.opt.ReuseIdle = 100, time.Minute
	c := remote.New(n.opt)
	n.t.Cleanup(c.Close)
	return c
}

func (n *network) with(c *remote.Client, domain string, rcpts ...string) ([]mta.Outcome, bool) {
	r := remote.Request{Dest: mta.Destination{Domain: domain}, Sender: addr("alice@our.test"), Content: content(text)}
	for _, a := range rcpts {
		r.Rcpts = append(r.Rcpts, mta.Recipient{Address: addr(a)})
	}
	return c.Deliver(n.t.Context(), r)
}

func TestConnectionsAreReusedForEveryDomainOfAHost(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "e.test. 60 IN MX 10 a.test.", "a.test. 60 IN A 192.0.2.1")
	s := n.host("192.0.2.1", &mtatest.Sink{Extensions: []string{"PIPELINING"}})
	n.opt.ReuseMax = 0
	c := n.keep()
	for i := range 10 {
		domain := []string{"d.test", "e.test"}[i%2]
		out, up := n.with(c, domain, "x@"+domain)
		if n.expect("message", out, "delivered 250 2.0.0 by a.test"); !up {
			t.Error("up is false")
		}
	}
	if s.Conns() != 1 || len(s.Messages()) != 10 {
		t.Errorf("%d connections for %d messages, want 1 for 10", s.Conns(), len(s.Messages()))
	}
	c.Close()
	if got := s.Commands(); got[len(got)-1] != "QUIT" {
		t.Errorf("the last command is %q, want QUIT", got[len(got)-1])
	}
	n.with(c, "d.test", "x@d.test")
	c.Close() // nothing is kept any more
	if s.Conns() != 2 {
		t.Errorf("%d connections, want 2", s.Conns())
	}
}

func TestConnectionCarriesSoManyMessagesAndNoMore(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	s := n.host("192.0.2.1", &mtatest.Sink{})
	n.opt.ReuseMax, n.opt.ReuseIdle = 3, time.Minute
	c := remote.New(n.opt)
	defer c.Close()
	for range 7 {
		n.with(c, "d.test", "x@d.test")
	}
	if s.Conns() != 3 {
		t.Errorf("%d connections for 7 messages of which each carries 3, want 3", s.Conns())
	}
}

func TestConnectionThatWaitedTooLongIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, made := &mtatest.Sink{}, 0
		var sinks sync.WaitGroup
		o := remote.Options{Resolver: silent{hosts: 1}, Hostname: "our.test", ReuseMax: 100, ReuseIdle: 5 * time.Second,
			Dial: func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
				made++
				ours, theirs := net.Pipe()
				sinks.Go(func() { s.Serve(theirs) })
				return ours, nil
			}}
		c := remote.New(o)
		send := func() {
			r := remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr("x@d.test")}}, Content: content(text)}
			if out, _ := c.Deliver(t.Context(), r); out[0].Status != mta.Delivered {
				t.Errorf("got %+v", out[0])
			}
		}
		send()
		time.Sleep(4 * time.Second)
		send() // the same connection, and five seconds more
		time.Sleep(4 * time.Second)
		send()
		if made != 1 {
			t.Errorf("%d connections before the time was over, want 1", made)
		}
		time.Sleep(6 * time.Second)
		send()
		if made != 2 {
			t.Errorf("%d connections, want 2", made)
		}
		for range 100 { // never idle for long, and yet old at last
			time.Sleep(4 * time.Second)
			send()
		}
		if made < 3 {
			t.Errorf("%d connections after 400 s of use, want 3 at least", made)
		}
		c.Close()
		sinks.Wait()
	})
}

// A server may close a connection that waits, without a word or with 421: that is no reason to wait with the message.
func TestConnectionThatWasClosedMeanwhileIsReplaced(t *testing.T) {
	for _, reply := range []string{mtatest.Drop, "421 4.4.2 idle for too long"} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		mails := 0
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: []string{"PIPELINING"}, On: func(c string) string {
			if strings.HasPrefix(c, "MAIL") {
				if mails++; mails == 2 {
					return reply
				}
			}
			return ""
		}})
		c := n.keep()
		n.with(c, "d.test", "x@d.test")
		out, up := n.with(c, "d.test", "y@d.test")
		if n.expect(reply, out, "delivered 250 2.0.0 by d.test"); !up || s.Conns() != 2 {
			t.Errorf("%q: up %v, %d connections, want true and 2", reply, up, s.Conns())
		}
	}
}

func TestTooManyRecipientsAreSentInFurtherTransactions(t *testing.T) {
	for _, refusal := range []string{"452 4.5.3 too many", "452 too many", "552 too many"} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		rcpts := 0
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: []string{"PIPELINING"}, On: func(c string) string {
			switch {
			case strings.HasPrefix(c, "MAIL"):
				rcpts = 0
			case strings.HasPrefix(c, "RCPT TO:<no@"):
				return "550 5.1.1 no"
			case strings.HasPrefix(c, "RCPT"):
				if rcpts++; rcpts > 10 {
					return refusal
				}
			}
			return ""
		}})
		to := []string{"no@d.test"}
		for i := range 34 {
			to = append(to, fmt.Sprintf("u%d@d.test", i))
		}
		out := n.send("d.test", to...)
		want := "failed 550 5.1.1 by d.test" + strings.Repeat(", delivered 250 2.0.0 by d.test", 34)
		n.expect(refusal, out, want)
		var sizes []int
		for _, m := range s.Messages() {
			sizes = append(sizes, len(m.Rcpts))
		}
		if !slices.Equal(sizes, []int{10, 10, 10, 4}) || s.Conns() != 1 {
			t.Errorf("%s: transactions of %v recipients on %d connections", refusal, sizes, s.Conns())
		}
	}
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	n.host("192.0.2.1", &mtatest.Sink{On: func(c string) string {
		if strings.HasPrefix(c, "RCPT") {
			return "452 4.5.3 too many"
		}
		return ""
	}})
	n.expect("none at all", n.send("d.test", "x@d.test"), "deferred 452 4.5.3 by d.test")
}

func TestAddressThatFailedStandsBehindTheOthers(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.", "d.test. 60 IN MX 30 c.test.",
		"a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2", "c.test. 60 IN A 192.0.2.3")
	n.host("192.0.2.2", &mtatest.Sink{On: func(c string) string {
		if strings.HasPrefix(c, "MAIL") {
			return "421 4.3.2 going down"
		}
		return ""
	}})
	now := time.Now()
	n.opt.Now = func() time.Time { return now }
	n.host("192.0.2.3", &mtatest.Sink{})
	c := remote.New(n.opt)
	defer c.Close()
	for i, want := range [][]string{{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, {"192.0.2.3"}, {"192.0.2.3"}} {
		n.dials = nil
		out, up := n.with(c, "d.test", "x@d.test")
		if n.expect("message", out, "delivered 250 2.0.0 by c.test"); !up || !slices.Equal(n.dials, want) {
			t.Errorf("message %d: dialled %v, want %v; up %v", i, n.dials, want, up)
		}
	}
	now = now.Add(time.Hour)
	n.dials = nil
	if n.with(c, "d.test", "x@d.test"); len(n.dials) != 3 {
		t.Errorf("an hour later: dialled %v, want all three", n.dials)
	}
}

func TestWhatIsSaidAgainstTheHosts(t *testing.T) {
	on := func(prefix, reply string) *mtatest.Sink {
		return &mtatest.Sink{On: func(c string) string {
			if strings.HasPrefix(c, prefix) {
				return reply
			}
			return ""
		}}
	}
	for _, c := range []struct {
		prefix, reply string
		up            bool
	}{
		{"GREETING", "421 too many connections", false},
		{"GREETING", "554 no mail here", true}, // final: there is nothing to wait for
		{"GREETING", mtatest.Drop, false},
		{"EHLO", "450 later", false},
		{"MAIL", "421 later", false},
		{"MAIL", mtatest.Drop, false},
		{"MAIL", "450 4.7.1 this sender later", true},
		{"RCPT", "450 4.2.0 greylisted", true},
		{"RCPT", mtatest.Drop, false},
		{"DATA", "451 later", true},
		{"END", "451 later", true},
		{"END", mtatest.Drop, true}, // it took the whole message
		{"NOOP", "", true},
	} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		n.host("192.0.2.1", on(c.prefix, c.reply))
		client := remote.New(n.opt)
		if out, up := n.with(client, "d.test", "x@d.test"); up != c.up {
			t.Errorf("%s %q: up %v, want %v (%s)", c.prefix, c.reply, up, c.up, show(out))
		}
		client.Close()
	}
	n := newNetwork(t, "dead.test. 60 IN A 192.0.2.9", "null.test. 60 IN MX 0 .")
	client := remote.New(n.opt)
	for domain, want := range map[string]bool{"dead.test": false, "null.test": true, "none.test": true} {
		if _, up := n.with(client, domain, "x@"+domain); up != want {
			t.Errorf("%s: up %v, want %v", domain, up, want)
		}
	}
}

// dual is a resolver that knows both families of one host.
type dual struct{ remote.Resolver }

func (dual) MX(context.Context, string) ([]dns.MX, error) { return []dns.MX{{Host: "mx.test"}}, nil }
func (dual) Addrs(context.Context, string, bool) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
}

func TestFamilyThatLeadsNowhereCostsAMoment(t *testing.T) {
	for _, c := range []struct {
		what string
		six  func(context.Context) error
		most time.Duration
		by   string
	}{
		{"IPv6 swallows all", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 300 * time.Millisecond, "192.0.2.1:25"},
		{"IPv6 is refused", func(context.Context) error { return errors.New("no route") }, 0, "192.0.2.1:25"},
		{"IPv6 works", func(context.Context) error { return nil }, 0, "[2001:db8::1]:25"},
		{"IPv6 is slow, IPv4 slower", func(context.Context) error { time.Sleep(400 * time.Millisecond); return nil }, 400 * time.Millisecond, "[2001:db8::1]:25"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &mtatest.Sink{}
			var sinks sync.WaitGroup
			o := remote.Options{Resolver: dual{}, Hostname: "our.test", IPv6: true,
				Dial: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
					if to.Addr().Is6() {
						if err := c.six(ctx); err != nil {
							return nil, err
						}
					} else if strings.Contains(c.what, "slower") {
						time.Sleep(time.Second)
						return nil, errors.New("too late")
					}
					ours, theirs := net.Pipe()
					sinks.Go(func() { s.Serve(theirs) })
					return ours, nil
				}}
			client := remote.New(o)
			start := time.Now()
			out, _ := client.Deliver(t.Context(), remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr("x@d.test")}}, Content: content(text)})
			took := time.Since(start)
			if strings.Contains(c.what, "slower") {
				took -= 600 * time.Millisecond // the fake dialler does not heed its context
				took = min(took, c.most)
			}
			if out[0].Status != mta.Delivered || out[0].Addr != c.by || took > c.most {
				t.Errorf("%s: %s at %s after %v, want %s within %v", c.what, out[0].Status, out[0].Addr, took, c.by, c.most)
			}
			client.Close()
			sinks.Wait()
		})
	}
}

func TestSecondAddressIsThereWhenTheFirstTurnsOutBad(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1", "d.test. 60 IN AAAA 2001:db8::1")
	n.host("2001:db8::1", &mtatest.Sink{On: func(c string) string {
		if c == "GREETING" {
			return "421 not over this one"
		}
		return ""
	}})
	n.host("192.0.2.1", &mtatest.Sink{})
	n.expect("outcome", n.send("d.test", "x@d.test"), "delivered 250 2.0.0 by d.test")
	if want := []string{"2001:db8::1", "192.0.2.1"}; !slices.Equal(n.dials, want) {
		t.Errorf("dialled %v, want %v", n.dials, want)
	}
}

func TestDomainsOfTheSameHostsAreOneSite(t *testing.T) {
	n := newNetwork(t,
		"a.test. 60 IN MX 10 mx1.big.test.", "a.test. 60 IN MX 10 mx2.big.test.", "a.test. 60 IN MX 20 mx3.big.test.",
		"b.test. 60 IN MX 5 MX2.big.test.", "b.test. 60 IN MX 5 mx1.big.test.", "b.test. 60 IN MX 50 mx3.big.test.",
		"other.test. 60 IN MX 10 mx3.big.test.", "other.test. 60 IN MX 20 mx1.big.test.",
		"backup.test. 60 IN MX 10 mx3.big.test.", "backup.test. 60 IN MX 20 our.test.", "backup.test. 60 IN MX 30 mx1.big.test.",
		"plain.test. 60 IN A 192.0.2.1",
	)
	c := remote.New(n.opt)
	for _, x := range []struct {
		dest mta.Destination
		want string
	}{
		{mta.Destination{Domain: "a.test"}, "mx1.big.test|mx2.big.test,mx3.big.test"},
		{mta.Destination{Domain: "b.test"}, "mx1.big.test|mx2.big.test,mx3.big.test"},
		{mta.Destination{Domain: "b.test", TLS: mta.TLSVerify}, "mx1.big.test|mx2.big.test,mx3.big.test tls=verify"},
		{mta.Destination{Domain: "other.test"}, "mx3.big.test,mx1.big.test"},
		{mta.Destination{Domain: "backup.test"}, "mx3.big.test"},
		{mta.Destination{Domain: "plain.test"}, "plain.test"},
		{mta.Destination{Domain: "none.test"}, "none.test"},
		{mta.Destination{Domain: "[192.0.2.7]"}, "192.0.2.7"},
		{mta.Destination{Host: "smart.test", Port: 587}, "smtp:smart.test:587"},
		{mta.Destination{Path: "/run/lmtp", LMTP: true, TLS: mta.TLSNone}, "lmtp:unix:/run/lmtp tls=none"},
	} {
		if got := c.Site(t.Context(), x.dest); got != x.want {
			t.Errorf("%v: got %q, want %q", x.dest, got, x.want)
		}
	}
}

func TestLMTPHasAnOutcomeForEachRecipient(t *testing.T) {
	for _, where := range []string{"tcp", "unix"} {
		n := newNetwork(t)
		s := &mtatest.Sink{LMTP: true, Extensions: []string{"PIPELINING"}, On: func(c string) string {
			switch c {
			case "END <full@d.test>":
				return "452 4.2.2 quota exceeded"
			case "END <no@d.test>":
				return "550 5.2.0 refused by its rules"
			case "RCPT TO:<gone@d.test>":
				return "550 5.1.1 no such user"
			case "END <late@d.test>":
				return "" // answered
			}
			return ""
		}}
		dest := mta.Destination{LMTP: true, Path: filepath.Join(t.TempDir(), "s")}
		host := "our.test"
		if where == "unix" {
			s.Start(t, dest.Path)
		} else {
			s.Start(t, "")
			dest, host = mta.Destination{LMTP: true, Host: "127.0.0.1", Port: s.Port()}, "127.0.0.1"
			n.ports[netip.MustParseAddr(host)] = s.Addr()
		}
		got := n.sendTo(dest, text, "a@d.test", "full@d.test", "gone@d.test", "no@d.test", "b@d.test")
		n.expect(where, got, strings.ReplaceAll("delivered 250 2.0.0 by H, deferred 452 4.2.2 by H, failed 550 5.1.1 by H, failed 550 5.2.0 by H, delivered 250 2.0.0 by H", "H", host))
		if m := s.Messages(); len(m) != 1 || len(m[0].Rcpts) != 2 || m[0].Data != text {
			t.Errorf("%s: got %+v", where, m)
		}
		if got := s.Commands()[0]; got != "LHLO our.test" {
			t.Errorf("%s: hello is %q", where, got)
		}
	}
}

// Whose reply was heard has it, or not; of the others nobody knows.
func TestLMTPThatBreaksOffBetweenItsReplies(t *testing.T) {
	n := newNetwork(t)
	s := (&mtatest.Sink{LMTP: true, On: func(c string) string {
		if c == "END <b@d.test>" {
			return mtatest.Drop
		}
		return ""
	}}).Start(t, "")
	n.ports[netip.MustParseAddr("127.0.0.1")] = s.Addr()
	got := n.sendTo(mta.Destination{LMTP: true, Host: "127.0.0.1", Port: s.Port()}, text, "a@d.test", "b@d.test", "c@d.test")
	n.expect("outcomes", got, "delivered 250 2.0.0 by 127.0.0.1, deferred 451 4.4.2, deferred 451 4.4.2")
}

func TestLMTPServerThatIsNotThere(t *testing.T) {
	n := newNetwork(t)
	path := filepath.Join(t.TempDir(), "absent")
	got := n.sendTo(mta.Destination{LMTP: true, Path: path}, text, "a@d.test")
	n.expect("outcome", got, "deferred 451 4.4.1")
	if strings.Contains(got[0].Text, path) || got[0].Cause == nil || !strings.Contains(got[0].Cause.Error(), path) {
		t.Errorf("the sender is told %q, the log %v", got[0].Text, got[0].Cause)
	}
}

// caught is a listener that shows the connections it has accepted.
type caught struct {
	net.Listener
	conns chan net.Conn
}

func (l caught) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns <- c
	}
	return c, err
}

// arrived waits until something can be read from a connection, or it is closed.
func arrived(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			var b [1]byte
			_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return err != unix.EAGAIN && err != unix.EINTR
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatAServerSaysUnaskedIsNoReplyToTheNextMessage(t *testing.T) {
	const more = "550 5.1.1 no such user"
	for _, late := range []bool{false, true} { // when the connection waits already
		n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "e.test. 60 IN MX 10 a.test.", "a.test. 60 IN A 192.0.2.1")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wire := caught{l, make(chan net.Conn, 9)}
		s := &mtatest.Sink{Extensions: []string{"PIPELINING"}, On: func(cmd string) string {
			if cmd == "END" && !late {
				return "250 2.0.0 taken\r\n" + more
			}
			return ""
		}}
		s.StartOn(t, wire)
		n.ports[netip.MustParseAddr("192.0.2.1")] = s.Addr()
		var ours net.Conn
		n.opt.Dial = func(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
			conn, err := n.dial(ctx, source, to)
			ours = conn
			return conn, err
		}
		c := n.keep()
		for _, domain := range []string{"d.test", "e.test"} {
			out, _ := n.with(c, domain, "x@"+domain)
			n.expect(fmt.Sprintf("%s, late %v", domain, late), out, "delivered 250 2.0.0 by a.test")
			if late {
				fmt.Fprint(<-wire.conns, more+"\r\n")
				arrived(t, ours)
			}
		}
		if s.Conns() != 2 || len(s.Messages()) != 2 {
			t.Errorf("late %v: %d messages over %d connections, want 2 over 2", late, len(s.Messages()), s.Conns())
		}
	}
}

func TestTheWordsOfAServerAreBounded(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	n.host("192.0.2.1", &mtatest.Sink{On: func(c string) string {
		if strings.HasPrefix(c, "RCPT") {
			return strings.Repeat("550-5.1.1 "+strings.Repeat("ä", 200)+"\r\n", 100) + "550 5.1.1 end"
		}
		return ""
	}})
	out := n.send("d.test", "x@d.test")
	n.expect("outcome", out, "failed 550 5.1.1 by d.test")
	if len(out[0].Text) > 2100 || !strings.HasPrefix(out[0].Text, "äää") || !strings.HasSuffix(out[0].Text, "ä ...") {
		t.Errorf("%d octets: %q", len(out[0].Text), out[0].Text)
	}
}
