package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func resolver(t *testing.T, o dns.Options, zones ...*mtatest.Zone) *dns.Resolver {
	t.Helper()
	for _, z := range zones {
		o.Servers = append(o.Servers, z.Addr())
	}
	r, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswersThatAreNoMX(t *testing.T) {
	z := mtatest.NewZone(t,
		"null.test. 60 IN MX 0 .",
		"mixed.test. 60 IN MX 0 .", "mixed.test. 60 IN MX 10 mx.test.",
		`odd.test. 60 IN MX 10 bad\032name.test.`,
		"plain.test. 60 IN A 127.0.0.1",
		"loop.test. 60 IN CNAME pool.test.", "pool.test. 60 IN CNAME loop.test.",
		"dangling.test. 60 IN CNAME gone.test.",
	)
	z.Rcode("fail.test", wire.RcodeServerFailure)
	z.Rcode("refused.test", wire.RcodeRefused)
	r := resolver(t, dns.Options{Timeout: time.Minute}, z)
	for _, c := range []struct {
		domain string
		want   error // nil: temporary
	}{
		{"null.test", dns.ErrNullMX},
		{"odd.test", nil},
		{"plain.test", dns.ErrNoData},
		{"none.test", dns.ErrNotFound},
		{"loop.test", nil},
		{"dangling.test", dns.ErrNotFound},
		{"fail.test", nil},
		{"refused.test", nil},
		{"", dns.ErrBadName},
		{"a..test", dns.ErrBadName},
		{"a b.test", dns.ErrBadName},
		{"a\x00.test", dns.ErrBadName},
		{strings.Repeat("a", 64) + ".test", dns.ErrBadName},
		{strings.Repeat("a.", 130) + "test", dns.ErrBadName},
	} {
		mx, err := r.MX(t.Context(), c.domain)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || dns.Permanent(err) != (c.want != nil) {
			t.Errorf("MX(%q) = %v, %v; want error %v", c.domain, mx, err, c.want)
		}
	}
	mx, err := r.MX(t.Context(), "mixed.test")
	if want := []dns.MX{{Pref: 10, Host: "mx.test"}}; err != nil || !slices.Equal(mx, want) {
		t.Errorf("a null MX beside others: got %v, %v; want %v", mx, err, want)
	}
}

func TestRecordsOfEachKind(t *testing.T) {
	z := mtatest.NewZone(t,
		"example.test. 60 IN MX 20 B.example.test.", "example.test. 60 IN MX 10 a.example.test.",
		"a.example.test. 60 IN A 192.0.2.1", "a.example.test. 60 IN AAAA 2001:db8::1",
		"b.example.test. 60 IN A 192.0.2.2",
		"six.test. 60 IN AAAA 2001:db8::6",
		"alias.test. 60 IN CNAME a.example.test.",
		`t.test. 60 IN TXT "v=x " "a\"b\\c\200"`,
		"1.2.0.192.in-addr.arpa. 60 IN PTR a.example.test.",
		"xn--bcher-kva.test. 60 IN MX 5 mx.xn--bcher-kva.test.",
	)
	r := resolver(t, dns.Options{}, z)
	ctx := t.Context()
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
		}
	}
	mx, err := r.MX(ctx, "EXAMPLE.test.")
	check("MX", mx, err, "[{10 a.example.test} {20 b.example.test}]")
	mx, err = r.MX(ctx, "bücher.test")
	check("MX of a name beyond ASCII", mx, err, "[{5 mx.xn--bcher-kva.test}]")
	a, err := r.Addrs(ctx, "a.example.test", true)
	check("both kinds", a, err, "[2001:db8::1 192.0.2.1]")
	a, err = r.Addrs(ctx, "a.example.test", false)
	check("IPv4 alone", a, err, "[192.0.2.1]")
	a, err = r.Addrs(ctx, "b.example.test", true)
	check("no AAAA", a, err, "[192.0.2.2]")
	a, err = r.Addrs(ctx, "six.test", true)
	check("no A", a, err, "[2001:db8::6]")
	if a, err = r.Addrs(ctx, "six.test", false); !errors.Is(err, dns.ErrNoData) {
		t.Errorf("no A and AAAA not wanted: got %v, %v; want ErrNoData", a, err)
	}
	a, err = r.Addrs(ctx, "alias.test", false)
	check("alias", a, err, "[192.0.2.1]")
	txt, err := r.TXT(ctx, "t.test")
	check("TXT", txt, err, "[v=x a\"b\\c\xc8]")
	n, err := r.Name(ctx, netip.MustParseAddr("192.0.2.1"))
	check("PTR", n, err, "[a.example.test]")
}

func TestReplyToAnotherQuestionIsPassedOver(t *testing.T) {
	z := mtatest.NewZone(t, "a.test. 60 IN A 192.0.2.1")
	z.Misdirect("a.test")
	a, err := resolver(t, dns.Options{}, z).Addrs(t.Context(), "a.test", false)
	if want := netip.MustParseAddr("192.0.2.1"); err != nil || len(a) != 1 || a[0] != want {
		t.Errorf("got %v, %v; want %v", a, err, want)
	}
}

func TestTruncatedAnswerIsAskedAgainOverTCP(t *testing.T) {
	z := mtatest.NewZone(t, "a.test. 60 IN A 192.0.2.1")
	z.Truncate("a.test")
	if _, err := resolver(t, dns.Options{}, z).Addrs(t.Context(), "a.test", false); err != nil {
		t.Fatal(err)
	}
	if got, want := z.Queries(), []string{"udp A a.test.", "tcp A a.test."}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestNextServerIsAskedWhenOneFails(t *testing.T) {
	bad, good := mtatest.NewZone(t), mtatest.NewZone(t, "a.test. 60 IN A 192.0.2.1")
	bad.Rcode("a.test", wire.RcodeServerFailure)
	if _, err := resolver(t, dns.Options{}, bad, good).Addrs(t.Context(), "a.test", false); err != nil {
		t.Error(err)
	}
	bad.Silent("a.test", true)
	// The good one answers in time in one of the rounds, however slow this machine is.
	if _, err := resolver(t, dns.Options{Timeout: 100 * time.Millisecond, Attempts: 600}, bad, good).Addrs(t.Context(), "a.test", false); err != nil {
		t.Error(err)
	}
}

// serve starts a server over UDP that answers as fill says.
func serve(t *testing.T, fill func(in, out *wire.Msg)) (addr string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wire.Server{PacketConn: pc, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, in *wire.Msg) {
		m := new(wire.Msg)
		m.SetReply(in)
		fill(in, m)
		_ = w.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return pc.LocalAddr().String()
}

func TestServerWithoutEDNS(t *testing.T) {
	s := serve(t, func(in, out *wire.Msg) {
		if in.IsEdns0() != nil {
			out.Rcode, out.Question = wire.RcodeFormatError, nil
		} else {
			rr, _ := wire.NewRR("a.test. 60 IN A 192.0.2.1")
			out.Answer = []wire.RR{rr}
		}
	})
	r := resolver(t, dns.Options{Servers: []string{s}})
	if _, err := r.Addrs(t.Context(), "a.test", false); err != nil {
		t.Error(err)
	}
}

// A resolver by mistake: a server of one zone alone refers to others for the rest. Mail must wait, not bounce.
func TestReferralDoesNotSayThatThereIsNothing(t *testing.T) {
	s := serve(t, func(_, out *wire.Msg) {
		ns, _ := wire.NewRR("test. 60 IN NS ns.test.")
		out.Ns = []wire.RR{ns}
	})
	r := resolver(t, dns.Options{Servers: []string{s}})
	if mx, err := r.MX(t.Context(), "a.test"); err == nil || dns.Permanent(err) {
		t.Errorf("got %v, %v; want a temporary error", mx, err)
	}
	z := mtatest.NewZone(t, "a.test. 60 IN MX 10 mx.test.")
	if _, err := resolver(t, dns.Options{Servers: []string{s}}, z).MX(t.Context(), "a.test"); err != nil {
		t.Errorf("the next server was not asked: %v", err)
	}
}

func TestCancelledLookupReturnsAtOnce(t *testing.T) {
	z := mtatest.NewZone(t)
	z.Silent("a.test", true)
	r := resolver(t, dns.Options{Timeout: time.Hour}, z)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	z.Notify(func(string) { cancel(reason) })
	_, err := r.MX(ctx, "a.test")
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestAnswersAreKeptForTheirTTL(t *testing.T) {
	z := mtatest.NewZone(t, "a.test. 60 IN A 192.0.2.1", "zero.test. 0 IN A 192.0.2.1", "long.test. 999999 IN A 192.0.2.1")
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	r := resolver(t, dns.Options{Now: clock, MaxTTL: 100 * time.Second, MaxNeg: 30 * time.Second}, z)
	ask := func(at int64, name string, wantQueries int) {
		t.Helper()
		now.Store(at)
		before := len(z.Queries())
		_, err := r.Addrs(t.Context(), name, false)
		if name == "none.test" != errors.Is(err, dns.ErrNotFound) {
			t.Errorf("%s at %d s: %v", name, at, err)
		}
		if got := len(z.Queries()) - before; got != wantQueries {
			t.Errorf("%s at %d s: %d questions, want %d", name, at, got, wantQueries)
		}
	}
	ask(0, "a.test", 1)
	ask(59, "a.test", 0)
	ask(60, "a.test", 1)
	ask(60, "zero.test", 1)
	ask(60, "zero.test", 1)
	ask(100, "long.test", 1)
	ask(199, "long.test", 0)
	ask(200, "long.test", 1)
	ask(200, "none.test", 1)
	ask(229, "none.test", 0)
	ask(230, "none.test", 1)
}

func TestFailureIsNotKept(t *testing.T) {
	z := mtatest.NewZone(t, "a.test. 60 IN A 192.0.2.1")
	z.Rcode("a.test", wire.RcodeServerFailure)
	r := resolver(t, dns.Options{}, z)
	if _, err := r.Addrs(t.Context(), "a.test", false); err == nil || dns.Permanent(err) {
		t.Errorf("SERVFAIL: got %v, want a temporary error", err)
	}
	z.Rcode("a.test", wire.RcodeSuccess)
	if _, err := r.Addrs(t.Context(), "a.test", false); err != nil {
		t.Error(err)
	}
}

func TestServersOfTheOptionsAndTheFile(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("# none\noptions timeout:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []dns.Options{
		{Servers: []string{"ns.example.test"}}, // a name: who would resolve it?
		{Servers: []string{"127.0.0.1:notaport"}},
		{Conf: conf},
		{Conf: conf + ".absent"},
	} {
		if _, err := dns.New(o); err == nil {
			t.Errorf("New(%+v) succeeded", o)
		}
	}
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\nnameserver ::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dns.New(dns.Options{Conf: conf}); err != nil {
		t.Error(err)
	}
}
