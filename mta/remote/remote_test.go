package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

const text = "Subject: x\r\n\r\n.dot\r\nline\r\n"

func addr(s string) mta.Address {
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func content(s string) remote.Content {
	return message.NewReader("", nil, bytes.NewReader([]byte(s)), int64(len(s)))
}

// net of a test: a zone, and sinks that stand behind names. Every host has port 25; network leads them to the sinks.
type network struct {
	t     *testing.T
	zone  *mtatest.Zone
	ports map[netip.Addr]string // where an address leads
	dials []string
	opt   remote.Options
}

func newNetwork(t *testing.T, records ...string) *network {
	n := &network{t: t, zone: mtatest.NewZone(t, records...), ports: map[netip.Addr]string{}}
	r, err := dns.New(dns.Options{Servers: []string{n.zone.Addr()}, Timeout: time.Minute, Entries: -1})
	if err != nil {
		t.Fatal(err)
	}
	n.opt = remote.Options{Resolver: r, Hostname: "our.test", IPv6: true, Dial: n.dial}
	n.opt.InTurn()
	return n
}

func (n *network) dial(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
	n.dials = append(n.dials, to.Addr().String())
	port, ok := n.ports[to.Addr()]
	if !ok {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", port)
}

// host puts a sink behind an address.
func (n *network) host(ip string, s *mtatest.Sink) *mtatest.Sink {
	s.Start(n.t, "")
	n.ports[netip.MustParseAddr(ip)] = s.Addr()
	return s
}

func (n *network) send(domain string, rcpts ...string) []mta.Outcome {
	return n.sendTo(mta.Destination{Domain: domain}, text, rcpts...)
}

func (n *network) sendTo(d mta.Destination, body string, rcpts ...string) []mta.Outcome {
	r := remote.Request{Dest: d, Sender: addr("alice@our.test"), Content: content(body), SMTPUTF8: true}
	for _, a := range rcpts {
		r.Rcpts = append(r.Rcpts, mta.Recipient{Address: addr(a)})
	}
	c := remote.New(n.opt)
	defer c.Close()
	out, _ := c.Deliver(n.t.Context(), r)
	return out
}

func show(list []mta.Outcome) string {
	var out []string
	for _, o := range list {
		s := fmt.Sprintf("%s %d", o.Status, o.Code)
		if o.Enhanced != "" {
			s += " " + o.Enhanced
		}
		if o.Host != "" {
			s += " by " + o.Host
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func (n *network) expect(what string, got []mta.Outcome, want string) {
	n.t.Helper()
	if g := show(got); g != want {
		n.t.Errorf("%s:\n got %s\nwant %s\n(%+v)", what, g, want, got)
	}
}

func TestDomainsThatTakeNoMail(t *testing.T) {
	n := newNetwork(t,
		"null.test. 60 IN MX 0 .",
		"exists.test. 60 IN TXT x",
		"nohost.test. 60 IN MX 10 gone.test.",
		"halfhost.test. 60 IN MX 10 gone.test.", "halfhost.test. 60 IN MX 20 slow.test.",
		"ours.test. 60 IN MX 10 OUR.test.", "ours.test. 60 IN MX 20 b.test.",
		"oursbyaddr.test. 60 IN MX 10 alias.test.", "alias.test. 60 IN A 192.0.2.99",
		"b.test. 60 IN A 192.0.2.2",
		"here.test. 60 IN MX 10 any4.test.", "any4.test. 60 IN A 0.0.0.0", "here.test. 60 IN MX 10 any6.test.", "any6.test. 60 IN AAAA ::",
		"many.test. 60 IN A 224.0.0.1", "many.test. 60 IN A 255.255.255.255",
		"some.test. 60 IN A 0.0.0.0", "some.test. 60 IN A 192.0.2.3", "numeric.test. 60 IN MX 10 0.0.0.0.",
	)
	n.zone.Rcode("slow.test", wire.RcodeServerFailure)
	n.zone.Rcode("fail.test", wire.RcodeServerFailure)
	n.opt.Own = func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.99:25") }
	for _, c := range []struct{ domain, want string }{
		{"null.test", "failed 556 5.1.10"},
		{"none.test", "failed 550 5.1.2"},
		{"exists.test", "failed 550 5.4.4"},
		{"nohost.test", "failed 550 5.4.4"},
		{"halfhost.test", "deferred 451 4.4.3"},
		{"fail.test", "deferred 451 4.4.3"},
		{"ours.test", "deferred 451 4.3.5"},
		{"oursbyaddr.test", "deferred 451 4.3.5"},
		{"here.test", "failed 550 5.4.4"},
		{"many.test", "failed 550 5.4.4"},
		{"numeric.test", "failed 550 5.4.4"},
		{"[0.0.0.0]", "failed 550 5.4.4"},
		{"[IPv6:::]", "failed 550 5.4.4"},
		{"b.test", "deferred 451 4.4.1"},
		{"some.test", "deferred 451 4.4.1"},
	} {
		n.expect(c.domain, n.send(c.domain, "x@"+c.domain), c.want)
	}
	if got := strings.Join(n.dials, " "); got != "192.0.2.2 192.0.2.3" {
		t.Errorf("connections to %s", got)
	}
}

func TestHostsAreTriedByPreference(t *testing.T) {
	n := newNetwork(t,
		"d.test. 60 IN MX 30 c.test.", "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.",
		"a.test. 60 IN A 192.0.2.1", "a.test. 60 IN AAAA 2001:db8::1",
		"b.test. 60 IN A 192.0.2.2", "c.test. 60 IN A 192.0.2.3",
		"plain.test. 60 IN A 192.0.2.3",
		"backup.test. 60 IN MX 10 a.test.", "backup.test. 60 IN MX 20 our.test.", "backup.test. 60 IN MX 20 c.test.", "backup.test. 60 IN MX 30 c.test.",
	)
	c := n.host("192.0.2.3", &mtatest.Sink{})
	n.expect("dead ones first", n.send("d.test", "x@d.test"), "delivered 250 2.0.0 by c.test")
	if want := []string{"2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"}; !slices.Equal(n.dials, want) {
		t.Errorf("dialled %v, want %v", n.dials, want)
	}
	n.expect("no MX", n.send("plain.test", "x@plain.test"), "delivered 250 2.0.0 by plain.test")
	n.expect("ourselves cut it", n.send("backup.test", "x@backup.test"), "deferred 451 4.4.1")
	n.expect("literal", n.send("[192.0.2.3]", "x@[192.0.2.3]"), "delivered 250 2.0.0 by 192.0.2.3")
	got := c.Messages()
	if len(got) != 3 || got[0].Data != text || got[0].Mail != "FROM:<alice@our.test>" {
		t.Errorf("got %+v", got)
	}
}

func TestEqualHostsAreTriedInRandomOrder(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 10 b.test.",
		"backup.test. 60 IN MX 10 a.test.", "backup.test. 60 IN MX 10 b.test.", "backup.test. 60 IN MX 20 our.test.",
		"a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2")
	for _, domain := range []string{"d.test", "backup.test"} {
		first := map[string]bool{}
		for i := 0; len(first) < 2 && i < 200; i++ {
			n.dials = nil
			n.send(domain, "x@"+domain)
			if len(n.dials) != 2 {
				t.Fatalf("%s: dialled %v, want both", domain, n.dials)
			}
			first[n.dials[0]] = true
		}
		if len(first) != 2 {
			t.Errorf("%s: always %v first", domain, first)
		}
	}
}

func TestHostsThatAreNotNeededAreNotLookedUp(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.",
		"a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2")
	n.host("192.0.2.1", &mtatest.Sink{})
	n.expect("the first host", n.send("d.test", "x@d.test"), "delivered 250 2.0.0 by a.test")
	for _, q := range n.zone.Queries() {
		if strings.Contains(q, "b.test") {
			t.Errorf("the second host was looked up: %s", q)
		}
	}
}

func TestAnotherHostIsAskedOnlyWhereItMayHelp(t *testing.T) {
	on := func(prefix, reply string) func(string) string {
		return func(c string) string {
			if strings.HasPrefix(c, prefix) {
				return reply
			}
			return ""
		}
	}
	for _, c := range []struct {
		prefix, reply string
		want          string
		second        bool // the second host was asked
	}{
		{"GREETING", "554 5.7.1 go away", "delivered 250 2.0.0 by b.test", true},
		{"GREETING", "421 busy", "delivered 250 2.0.0 by b.test", true},
		{"GREETING", mtatest.Drop, "delivered 250 2.0.0 by b.test", true},
		{"GREETING", "garbage", "delivered 250 2.0.0 by b.test", true},
		{"GREETING", "220 our.test ESMTP", "delivered 250 2.0.0 by b.test", true},
		{"EHLO", "450 later", "delivered 250 2.0.0 by b.test", true},
		{"MAIL", mtatest.Drop, "delivered 250 2.0.0 by b.test", true},
		{"MAIL", "421 4.3.2 going", "delivered 250 2.0.0 by b.test", true},
		{"RCPT", mtatest.Drop, "delivered 250 2.0.0 by b.test", true},
		{"DATA", mtatest.Drop, "delivered 250 2.0.0 by b.test", true},
		{"MAIL", "550 5.7.1 no", "failed 550 5.7.1 by a.test", false},
		{"MAIL", "450 4.7.1 later", "deferred 450 4.7.1 by a.test", false},
		{"RCPT", "550 5.1.1 no", "failed 550 5.1.1 by a.test", false},
		{"RCPT", "450 4.2.0 greylisted", "deferred 450 4.2.0 by a.test", false},
		{"DATA", "451 4.3.0 later", "deferred 451 4.3.0 by a.test", false},
		{"END", "554 5.7.1 spam", "failed 554 5.7.1 by a.test", false},
		{"END", "451 4.3.0 later", "deferred 451 4.3.0 by a.test", false},
		{"END", mtatest.Drop, "deferred 451 4.4.2", false}, // it may have been taken
	} {
		n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.",
			"a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2")
		a := n.host("192.0.2.1", &mtatest.Sink{On: on(c.prefix, c.reply)})
		b := n.host("192.0.2.2", &mtatest.Sink{})
		n.expect(c.prefix+" "+c.reply, n.send("d.test", "x@d.test"), c.want)
		if got := b.Conns() > 0; got != c.second || a.Conns() != 1 {
			t.Errorf("%s %q: second host asked %v, want %v", c.prefix, c.reply, got, c.second)
		}
	}
}

func TestEveryHostRefusesTheConnection(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.", "e.test. 60 IN MX 10 a.test.", "e.test. 60 IN MX 20 c.test.",
		"a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2", "c.test. 60 IN A 192.0.2.3", "loop.test. 60 IN A 192.0.2.4")
	refuse := func(r string) *mtatest.Sink {
		return &mtatest.Sink{On: func(c string) string {
			if c == "GREETING" {
				return r
			}
			return ""
		}}
	}
	n.host("192.0.2.1", refuse("554 5.7.1 no"))
	n.host("192.0.2.2", refuse("521 no mail"))
	n.host("192.0.2.4", refuse("220 our.test ESMTP"))
	n.expect("for good", n.send("d.test", "x@d.test"), "failed 521 by b.test")
	n.expect("one cannot be reached", n.send("e.test", "x@e.test"), "deferred 451 4.4.1")
	n.expect("ourselves", n.send("loop.test", "x@loop.test"), "deferred 451 4.3.5")
}

func TestEachRecipientHasItsOutcome(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	s := n.host("192.0.2.1", &mtatest.Sink{Extensions: []string{"PIPELINING"}, On: func(c string) string {
		switch c {
		case "RCPT TO:<no@d.test>":
			return "550-5.1.1 no such\r\n550 5.1.1 user"
		case "RCPT TO:<later@d.test>":
			return "450 4.2.0 greylisted"
		}
		return ""
	}})
	got := n.send("d.test", "a@d.test", "no@d.test", "later@d.test", "b@d.test")
	n.expect("outcomes", got, "delivered 250 2.0.0 by d.test, failed 550 5.1.1 by d.test, deferred 450 4.2.0 by d.test, delivered 250 2.0.0 by d.test")
	if got[1].Text != "no such user" || got[0].Addr != "192.0.2.1:25" || got[0].TLS != "" {
		t.Errorf("got %+v", got)
	}
	if m := s.Messages(); len(m) != 1 || len(m[0].Rcpts) != 2 {
		t.Errorf("messages: %+v", m)
	}
}

func TestRecipientsThatWereLostGoToTheNextHost(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.", "a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2")
	n.host("192.0.2.1", &mtatest.Sink{On: func(c string) string {
		switch c {
		case "RCPT TO:<no@d.test>":
			return "550 5.1.1 no"
		case "DATA":
			return mtatest.Drop
		}
		return ""
	}})
	b := n.host("192.0.2.2", &mtatest.Sink{})
	n.expect("outcomes", n.send("d.test", "a@d.test", "no@d.test"), "delivered 250 2.0.0 by b.test, failed 550 5.1.1 by a.test")
	if m := b.Messages(); len(m) != 1 || len(m[0].Rcpts) != 1 || m[0].Data != text {
		t.Errorf("second host: %+v", m)
	}
}

func TestTLSLevels(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.test")
	other := mtatest.NewCerts(t, "mx.test") // an authority that we do not trust
	garbage := func(c string) string {
		if c == "TLS" {
			return "500 no"
		}
		return ""
	}
	refuse := func(c string) string {
		if c == "STARTTLS" {
			return "454 4.7.0 not now"
		}
		return ""
	}
	for _, c := range []struct {
		what  string
		sink  *mtatest.Sink
		level mta.TLSLevel
		want  string
		tls   bool
		cause string
	}{
		{"none", &mtatest.Sink{Config: certs.Server()}, mta.TLSNone, "delivered 250 2.0.0 by mx.test", false, ""},
		{"opportunistic", &mtatest.Sink{Config: other.Server()}, "", "delivered 250 2.0.0 by mx.test", true, ""},
		{"opportunistic, not offered", &mtatest.Sink{}, "", "delivered 250 2.0.0 by mx.test", false, ""},
		{"opportunistic, refused", &mtatest.Sink{Config: certs.Server(), On: refuse}, "", "delivered 250 2.0.0 by mx.test", false, ""},
		{"opportunistic, broken", &mtatest.Sink{Config: certs.Server(), On: garbage}, "", "delivered 250 2.0.0 by mx.test", false, "TLS does not work with this server, sent in the clear"},
		{"encrypt", &mtatest.Sink{Config: other.Server()}, mta.TLSEncrypt, "delivered 250 2.0.0 by mx.test", true, ""},
		{"encrypt, not offered", &mtatest.Sink{}, mta.TLSEncrypt, "deferred 451 4.7.4", false, "no STARTTLS"},
		{"encrypt, broken", &mtatest.Sink{Config: certs.Server(), On: garbage}, mta.TLSEncrypt, "deferred 451 4.7.5", false, "handshake"},
		{"verify", &mtatest.Sink{Config: certs.Server()}, mta.TLSVerify, "delivered 250 2.0.0 by mx.test", true, ""},
		{"verify, unknown authority", &mtatest.Sink{Config: other.Server()}, mta.TLSVerify, "deferred 451 4.7.5", false, "unknown authority"},
		{"verify, refused", &mtatest.Sink{Config: certs.Server(), On: refuse}, mta.TLSVerify, "deferred 451 4.7.5", false, "not now"},
	} {
		n := newNetwork(t, "d.test. 60 IN MX 10 mx.test.", "mx.test. 60 IN A 192.0.2.1")
		n.opt.Roots = certs.Pool
		s := n.host("192.0.2.1", c.sink)
		got := n.sendTo(mta.Destination{Domain: "d.test", TLS: c.level}, text, "x@d.test")
		n.expect(c.what, got, c.want)
		if (got[0].TLS != "") != c.tls || (c.cause == "") != (got[0].Cause == nil) || c.cause != "" && !strings.Contains(got[0].Cause.Error(), c.cause) {
			t.Errorf("%s: TLS %q, cause %v; want %v, %q", c.what, got[0].TLS, got[0].Cause, c.tls, c.cause)
		}
		if m := s.Messages(); len(m) == 1 && m[0].TLS != c.tls {
			t.Errorf("%s: sent over TLS %v, want %v", c.what, m[0].TLS, c.tls)
		}
	}
}

func TestSmartHost(t *testing.T) {
	certs := mtatest.NewCerts(t, "smart.test")
	other := mtatest.NewCerts(t, "smart.test")
	login := filepath.Join(t.TempDir(), "login")
	if err := os.WriteFile(login, []byte("user:pass:word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("user:password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	auth := []string{"AUTH PLAIN"}
	refuse := func(c string) string {
		if strings.HasPrefix(c, "AUTH") {
			return "535 5.7.8 bad password for user"
		}
		return ""
	}
	for _, c := range []struct {
		what string
		sink *mtatest.Sink
		dest mta.Destination
		want string
	}{
		{"smtps with login", &mtatest.Sink{Config: certs.Server(), Implicit: true, Extensions: auth}, mta.Destination{Implicit: true, Login: login}, "delivered 250 2.0.0 by smart.test"},
		{"smtps, any certificate", &mtatest.Sink{Config: other.Server(), Implicit: true}, mta.Destination{Implicit: true}, "delivered 250 2.0.0 by smart.test"},
		{"smtps, unknown authority with login", &mtatest.Sink{Config: other.Server(), Implicit: true, Extensions: auth}, mta.Destination{Implicit: true, Login: login}, "deferred 451 4.7.5"},
		{"STARTTLS with login", &mtatest.Sink{Config: certs.Server(), Extensions: auth}, mta.Destination{Login: login}, "delivered 250 2.0.0 by smart.test"},
		{"no TLS with login", &mtatest.Sink{Extensions: auth}, mta.Destination{Login: login}, "deferred 451 4.7.4"},
		{"login refused", &mtatest.Sink{Config: certs.Server(), Extensions: auth, On: refuse}, mta.Destination{Login: login}, "deferred 451 4.7.8"},
		{"login that others can read", &mtatest.Sink{Config: certs.Server(), Extensions: auth}, mta.Destination{Login: open}, "deferred 451 4.7.8"},
		{"no login file", &mtatest.Sink{Config: certs.Server(), Extensions: auth}, mta.Destination{Login: login + ".absent"}, "deferred 451 4.7.8"},
		{"plain", &mtatest.Sink{}, mta.Destination{}, "delivered 250 2.0.0 by smart.test"},
	} {
		n := newNetwork(t, "smart.test. 60 IN A 192.0.2.1", "smart.test. 60 IN MX 10 elsewhere.test.")
		n.opt.Roots = certs.Pool
		n.opt.Own = func(netip.AddrPort) bool { return true } // what the operator names may well be this host
		s := n.host("192.0.2.1", c.sink)
		c.dest.Host = "smart.test"
		got := n.sendTo(c.dest, text, "x@far.test")
		n.expect(c.what, got, c.want)
		if strings.Contains(fmt.Sprint(got[0].Text), "user") {
			t.Errorf("%s: the sender is told %q", c.what, got[0].Text)
		}
		sent := slices.Contains(s.Commands(), "AUTH PLAIN AHVzZXIAcGFzczp3b3Jk")
		if want := c.dest.Login == login && (got[0].Status == mta.Delivered || c.what == "login refused"); sent != want {
			t.Errorf("%s: password sent %v, want %v", c.what, sent, want)
		}
	}
	n := newNetwork(t)
	n.expect("smart host that does not exist", n.sendTo(mta.Destination{Host: "gone.test"}, text, "x@far.test"), "deferred 451 4.4.4")
}

func TestWhatTheServerCannotTake(t *testing.T) {
	body8 := "Subject: x\r\n\r\n\xc3\xbc\r\n"
	header8 := "Subject: \xc3\xbc\r\n\r\nx\r\n"
	for _, c := range []struct {
		what string
		ext  []string
		body string
		rcpt string
		want string
		mail string
	}{
		{"8-bit content, signed", nil, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xbc\r\n--b--\r\n", "x@d.test", "failed 554 5.6.3", ""},
		{"8-bit content, offered", []string{"8BITMIME"}, body8, "x@d.test", "delivered 250 2.0.0 by d.test", "FROM:<alice@our.test> BODY=8BITMIME"},
		{"7-bit content, offered", []string{"8BITMIME"}, text, "x@d.test", "delivered 250 2.0.0 by d.test", "FROM:<alice@our.test>"},
		{"too large", []string{"SIZE 5"}, text, "x@d.test", "failed 552 5.3.4", ""},
		{"local part", []string{"8BITMIME"}, text, "ü@d.test", "failed 553 5.6.7", ""},
		{"local part, offered", []string{"8BITMIME", "SMTPUTF8"}, text, "ü@d.test", "delivered 250 2.0.0 by d.test", "FROM:<alice@our.test> SMTPUTF8"},
		{"address in the header", []string{"8BITMIME"}, "To: \xc3\xbc@d.test\r\n\r\nx\r\n", "x@d.test", "failed 553 5.6.7", ""},
		{"header, local part", []string{"8BITMIME"}, header8, "ü@d.test", "failed 553 5.6.7", ""},
		{"domain alone", nil, text, "x@bücher.test", "delivered 250 2.0.0 by d.test", "FROM:<alice@our.test>"},
	} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: c.ext})
		n.expect(c.what, n.sendTo(mta.Destination{Domain: "d.test"}, c.body, c.rcpt), c.want)
		if m := s.Messages(); c.mail != "" && (len(m) != 1 || m[0].Mail != c.mail || m[0].Data != c.body) {
			t.Errorf("%s: got %+v, want MAIL %s", c.what, m, c.mail)
		}
	}
	for _, c := range []struct {
		what string
		ext  []string
		body string
		mail string
		want string
	}{
		{"8-bit content", nil, body8, "FROM:<alice@our.test>", "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"},
		{"header", []string{"8BITMIME"}, "Subject: \xc3\xbc\r\n\r\n\xc3\xbc\r\n", "FROM:<alice@our.test> BODY=8BITMIME", "Subject: =?utf-8?b?w7w=?=\r\n\r\n\xc3\xbc\r\n"},
		{"both", []string{"SIZE 1000"}, "Subject: \xc3\xbc\r\n\r\n\xc3\xbc\r\n", "FROM:<alice@our.test> SIZE=142", "Subject: =?utf-8?b?w7w=?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"},
		{"long line", []string{"8BITMIME"}, "A: b\r\n\r\n" + strings.Repeat("x", 101) + "\r\n", "FROM:<alice@our.test>", "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("x", 75) + "=\r\n" + strings.Repeat("x", 26) + "\r\n"},
		{"line that is short enough", []string{"8BITMIME"}, "A: b\r\n\r\n" + strings.Repeat("x", 100) + "\r\n", "FROM:<alice@our.test>", "A: b\r\n\r\n" + strings.Repeat("x", 100) + "\r\n"},
	} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		n.opt.MaxLine = 100
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: c.ext})
		n.expect(c.what, n.sendTo(mta.Destination{Domain: "d.test"}, c.body, "x@d.test"), "delivered 250 2.0.0 by d.test")
		if m := s.Messages(); len(m) != 1 || m[0].Mail != c.mail || m[0].Data != c.want {
			t.Errorf("%s: got %+v, want MAIL %s and %q", c.what, m, c.mail, c.want)
		}
	}
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	n.host("192.0.2.1", &mtatest.Sink{})
	n.expect("only the recipient concerned", n.send("d.test", "ü@d.test", "x@d.test"), "failed 553 5.6.7, delivered 250 2.0.0 by d.test")
}

// TestSignaturesInAnotherForm holds that no signature is broken on the way, where it can be helped.
func TestSignaturesInAnotherForm(t *testing.T) {
	keys := map[string]sign.Key{}
	records := func(name string) ([]string, error) {
		r, err := keys[name].Record()
		return []string{r}, err
	}
	signed := func(domain, text string) string {
		signer, _, err := sign.Generate(true)
		if err != nil {
			t.Fatal(err)
		}
		k := sign.Key{Domain: domain, Selector: "s", Signer: signer}
		keys[k.Name()] = k
		values, err := sign.Message(strings.NewReader(text), []string{"Subject", "From"}, []sign.Key{k})
		if err != nil {
			t.Fatal(err)
		}
		return "DKIM-Signature: " + values[0] + "\r\n" + text
	}
	const body8 = "Subject: x\r\nFrom: a@our.test\r\n\r\n\xc3\xbc\r\n"
	const body7 = "Subject: x\r\nFrom: a@our.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"
	long := "Subject: x\r\nFrom: a@our.test\r\n\r\n" + strings.Repeat("x", 101) + "\r\n"
	ours, far, farLong := signed("our.test", body8), signed("far.test", body8), signed("far.test", long)
	for _, c := range []struct {
		what string
		ext  []string
		lmtp bool
		body string
		want string
		data string // how what arrives ends; "": nothing does
		good bool   // ... with a good signature
	}{
		{"ours", []string{"SIZE"}, false, ours, "delivered 250 2.0.0 by d.test", body7, true},
		{"ours, as it is", []string{"8BITMIME"}, false, ours, "delivered 250 2.0.0 by d.test", body8, true},
		{"ours, of another content", nil, false, strings.Replace(ours, "Subject: x", "Subject: y", 1), "delivered 250 2.0.0 by d.test", "\r\n\r\n=C3=BC\r\n", false},
		{"another's", nil, false, far, "failed 554 5.6.3", "", false},
		{"another's, to the last server", nil, true, far, "delivered 250 2.0.0 by d.test", body7, false},
		{"another's with long lines", nil, false, farLong, "delivered 250 2.0.0 by d.test", long, false},
	} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		n.opt.MaxLine = 100
		n.opt.Key = func(domain, selector string) (sign.Key, bool) {
			k, ok := keys[selector+"._domainkey."+domain]
			return k, ok && domain == "our.test"
		}
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: c.ext, LMTP: c.lmtp})
		dest := mta.Destination{Domain: "d.test"}
		if c.lmtp {
			dest = mta.Destination{Host: "d.test", LMTP: true, Port: 25}
		}
		n.expect(c.what, n.sendTo(dest, c.body, "x@d.test"), c.want)
		m := s.Messages()
		if c.data == "" {
			if len(m) != 0 {
				t.Errorf("%s: sent %+v", c.what, m)
			}
			continue
		}
		if len(m) != 1 || !strings.HasSuffix(m[0].Data, c.data) {
			t.Errorf("%s: got %+v, want an end of %q", c.what, m, c.data)
			continue
		}
		if size := " SIZE=" + strconv.Itoa(len(m[0].Data)); len(c.ext) > 0 && c.ext[0] == "SIZE" && !strings.HasSuffix(m[0].Mail, size) {
			t.Errorf("%s: MAIL %s, want%s", c.what, m[0].Mail, size)
		}
		if found, err := dkim.VerifyWithOptions(strings.NewReader(m[0].Data), &dkim.VerifyOptions{LookupTXT: records}); c.good && (err != nil || len(found) != 1 || found[0].Err != nil) {
			t.Errorf("%s: signature %+v, %v of %q", c.what, found, err, m[0].Data)
		}
	}
}

type brokenContent struct{ remote.Content }

func (b brokenContent) Read([]byte) (int, error) { return 0, errors.New("disk failed at /secret/path") }

func TestUnreadableMessageIsDeferred(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN MX 10 a.test.", "d.test. 60 IN MX 20 b.test.", "a.test. 60 IN A 192.0.2.1", "b.test. 60 IN A 192.0.2.2")
	s := n.host("192.0.2.1", &mtatest.Sink{})
	got, _ := remote.New(n.opt).Deliver(t.Context(), remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr("x@d.test")}}, Content: brokenContent{content(text)}})
	n.expect("outcome", got, "deferred 451 4.3.0")
	if strings.Contains(got[0].Text, "secret") || len(s.Messages()) != 0 || len(n.dials) != 1 {
		t.Errorf("text %q, messages %v, dials %v", got[0].Text, s.Messages(), n.dials)
	}
}

func TestEndedContextDefers(t *testing.T) {
	n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
	ctx, cancel := context.WithCancel(t.Context())
	n.host("192.0.2.1", &mtatest.Sink{On: func(c string) string {
		if c == "DATA" {
			cancel()
			<-t.Context().Done()
		}
		return ""
	}})
	got, _ := remote.New(n.opt).Deliver(ctx, remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr("x@d.test")}}, Content: content(text)})
	n.expect("outcome", got, "deferred 451 4.4.2")
}

// silent is a resolver and a network without sockets, for a clock that is not real.
type silent struct {
	remote.Resolver // nil: nobody asks for more than MX and Addrs
	hosts           int
}

func (s silent) MX(context.Context, string) ([]dns.MX, error) {
	var list []dns.MX
	for i := range s.hosts {
		list = append(list, dns.MX{Pref: uint16(i), Host: fmt.Sprintf("mx%d.test", i)})
	}
	return list, nil
}

func (s silent) Addrs(context.Context, string, bool) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
}

func TestTimeAndHostsOfOneAttemptAreBounded(t *testing.T) {
	for _, c := range []struct {
		what  string
		dial  func(context.Context) (net.Conn, error)
		tries int
		most  time.Duration
	}{
		{"no answer to connect", func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 10, 5 * time.Minute},
		{"silent servers", func(context.Context) (net.Conn, error) {
			ours, _ := net.Pipe()
			return ours, nil
		}, 3, 15 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			o := remote.Options{Resolver: silent{hosts: 1000}, Hostname: "our.test", Dial: func(ctx context.Context, _ netip.Addr, _ netip.AddrPort) (net.Conn, error) {
				tries++
				return c.dial(ctx)
			}}
			start := time.Now()
			got, _ := remote.New(o).Deliver(t.Context(), remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr("x@d.test")}}, Content: content(text)})
			if took := time.Since(start); tries != c.tries || took > c.most || got[0].Status != mta.Deferred {
				t.Errorf("%s: %d addresses in %v, %v; want %d in %v", c.what, tries, took, got[0], c.tries, c.most)
			}
		})
	}
}
