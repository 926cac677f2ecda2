package mtatest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Zone is a name server for tests on the loopback interface, UDP and TCP on one port. It answers as a recursive server
// would: the aliases of its own names are followed in the answer, and what it does not have is NXDOMAIN or no data.
type Zone struct {
	addr    string
	servers []*dns.Server
	done    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	rrs     map[string][]dns.RR
	rcodes  map[string]int
	silent  map[string]bool
	cut     map[string]bool
	wrong   map[string]bool
	signed  map[string]bool
	queries []string
	notify  func(query string)
}

// NewZone starts a Zone on a free port of 127.0.0.1, with these records in the form of a zone file ("example.test. 300
// IN MX 10 mx.example.test."), and ends it with the test.
func NewZone(t testing.TB, records ...string) *Zone {
	t.Helper()
	z, err := StartZone("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	for _, r := range records {
		if err := z.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return z
}

// StartZone starts an empty Zone on an address; port 0 takes one that is free for both UDP and TCP.
func StartZone(addr string) (*Zone, error) {
	tcp, udp, err := listenBoth(addr)
	if err != nil {
		return nil, err
	}
	z := &Zone{addr: tcp.Addr().String(), rrs: map[string][]dns.RR{}, rcodes: map[string]int{},
		silent: map[string]bool{}, cut: map[string]bool{}, wrong: map[string]bool{}, signed: map[string]bool{}}
	started := make(chan struct{}, 2)
	for _, s := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		s.Handler = dns.HandlerFunc(z.serve)
		s.NotifyStartedFunc = func() { started <- struct{}{} }
		z.servers = append(z.servers, s)
		z.done.Go(func() { _ = s.ActivateAndServe() })
	}
	<-started
	<-started
	return z, nil
}

// listenBoth finds a port that is free twice; a few ports may be taken for UDP alone.
func listenBoth(addr string) (net.Listener, net.PacketConn, error) {
	var last error
	for range 10 {
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp, nil
		}
		last = errors.Join(err, tcp.Close())
	}
	return nil, nil, last
}

// Close ends the server and waits for it.
func (z *Zone) Close() {
	for _, s := range z.servers {
		_ = s.Shutdown() // fails only where it has been shut down already
	}
	z.done.Wait()
}

// Addr is the server's "127.0.0.1:port".
func (z *Zone) Addr() string { return z.addr }

// Add adds one record in the form of a zone file.
func (z *Zone) Add(record string) error {
	rr, err := dns.NewRR(record)
	if err != nil || rr == nil {
		return fmt.Errorf("record %q: %w", record, err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	name := strings.ToLower(rr.Header().Name)
	z.rrs[name] = append(z.rrs[name], rr)
	return nil
}

// Remove takes all records of a name away.
func (z *Zone) Remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.rrs, key(name))
}

// Rcode makes every answer about a name this one, such as dns.RcodeServerFailure; dns.RcodeSuccess ends it.
func (z *Zone) Rcode(name string, rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcodes[key(name)] = rcode
}

// Silent makes the server ignore, or answer again, the questions about a name.
func (z *Zone) Silent(name string, on bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.silent[key(name)] = on
}

// Truncate makes every UDP answer about a name empty with the TC bit.
func (z *Zone) Truncate(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.cut[key(name)] = true
}

// Sign makes answers secure (the AD bit) as far as they rest on these names: each name of a chain of aliases, and the name
// at its end, or that there is nothing at it. A name with a dot in front stands for all names below it.
func (z *Zone) Sign(names ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, n := range names {
		z.signed[key(n)] = true
	}
}

func (z *Zone) isSigned(name string) bool {
	if z.signed[name] {
		return true
	}
	for i := range len(name) {
		if name[i] == '.' && z.signed[name[i:]] {
			return true
		}
	}
	return false
}

// Misdirect sends, before every answer about a name, one with the right id and a wrong question.
func (z *Zone) Misdirect(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.wrong[key(name)] = true
}

// Notify calls f for each question before it is answered, with the form that Queries has.
func (z *Zone) Notify(f func(query string)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.notify = f
}

// Queries returns what was asked so far, each as "udp MX example.test.".
func (z *Zone) Queries() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return append([]string(nil), z.queries...)
}

func key(name string) string { return strings.ToLower(dns.Fqdn(name)) }

func (z *Zone) serve(w dns.ResponseWriter, in *dns.Msg) {
	if len(in.Question) != 1 {
		return
	}
	q := in.Question[0]
	network := w.LocalAddr().Network()
	name := strings.ToLower(q.Name)
	z.mu.Lock()
	defer z.mu.Unlock()
	query := fmt.Sprintf("%s %s %s", network, dns.TypeToString[q.Qtype], name)
	z.queries = append(z.queries, query)
	if z.notify != nil {
		z.notify(query)
	}
	if z.silent[name] {
		return
	}
	if z.wrong[name] {
		stray := new(dns.Msg)
		stray.SetReply(in)
		stray.Question[0].Name = "stray.invalid."
		_ = w.WriteMsg(stray) // a client that has gone is the test's own doing
	}
	_ = w.WriteMsg(z.answer(in, q, name, network))
}

func (z *Zone) answer(in *dns.Msg, q dns.Question, name, network string) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(in)
	m.RecursionAvailable = true
	if m.Rcode = z.rcodes[name]; m.Rcode != dns.RcodeSuccess {
		return m
	}
	if z.cut[name] && network == "udp" {
		m.Truncated = true
		return m
	}
	secure := true
	for range 20 {
		secure = secure && z.isSigned(name)
		next := ""
		for _, rr := range z.rrs[name] {
			if rr.Header().Rrtype == q.Qtype {
				m.Answer = append(m.Answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				m.Answer = append(m.Answer, rr)
				next = strings.ToLower(c.Target)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	m.AuthenticatedData = secure && in.AuthenticatedData
	if len(z.rrs[name]) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 || m.Rcode == dns.RcodeNameError {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: "ns.invalid.", Mbox: "hostmaster.invalid.", Minttl: 60}}
	}
	return m
}
