package remote

import (
	"context"
	"crypto/x509"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dane"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/recode"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// Resolver finds hosts; *dns.Resolver is one. Its errors are those of package dns.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MX, error)
	Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error)
	MXPath(ctx context.Context, domain string) (dns.Path, error)
	dane.Resolver
}

// Content is a message as its receiver gets it, with CR LF line ends; *message.Reader is one. It is read once for each
// connection that gets so far, after a Reset.
type Content interface {
	io.Reader
	Reset()
	Size() int64
}

// Request is one message for some recipients with the same destination.
type Request struct {
	Dest     mta.Destination
	Sender   mta.Address
	Rcpts    []mta.Recipient
	SMTPUTF8 bool // the message came with that parameter
	// RequireTLS: the message came with REQUIRETLS, and goes to nobody who does not promise the same (RFC 8689).
	RequireTLS bool
	Ret        string         // RET and
	EnvID      string         // ENVID as they came (RFC 3461)
	By         *mta.DeliverBy // nil: no deadline
	Priority   int            // MT-PRIORITY (RFC 6710)
	Content    Content
	// Probe asks only whether the recipients would be taken: Delivered says so, and nobody gets anything.
	Probe bool
}

// Options of a Client.
type Options struct {
	Resolver Resolver
	Hostname string         // of this host: as an exchanger's name it means ourselves
	Helo     string         // default: Hostname
	Port     int            // of mail exchangers; default 25
	IPv6     bool           // use IPv6 addresses too
	TLS      mta.TLSLevel   // where the destination names none; default opportunistic
	DANE     bool           // obey TLSA records (RFC 7672)
	STS      Policies       // MTA-STS (RFC 8461); nil: not obeyed
	Watcher  Watcher        // is told what became of TLS; nil: nobody is
	Source   []netip.Addr   // to connect from, the first of the right family; none: the kernel chooses
	Roots    *x509.CertPool // for TLSVerify; nil: the system's
	// Own says whether an address is one that this host listens on for its own domains; nil: none is known to be.
	Own func(netip.AddrPort) bool
	// Key returns a key of this host for DKIM; nil: there is none. With them the signatures of a message that has to get
	// another form are made anew.
	Key func(domain, selector string) (sign.Key, bool)
	// Dial connects; nil: TCP. An invalid source leaves the choice to the kernel.
	Dial    func(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error)
	Connect time.Duration // limit of one connect; default 30 s
	// ReuseMax is how many messages a connection carries, default 1; ReuseIdle how long it waits for the next one.
	ReuseMax  int
	ReuseIdle time.Duration
	Spread    time.Duration  // after this long no further address is begun with; default 10 min
	Total     time.Duration  // limit of one Deliver; default 1 h
	MaxLine   int            // octets of a line of a body, from which it is encoded; 0 = they go as they are
	MaxTry    int            // addresses that one Deliver connects to; default 10
	Limits    smtpc.Timeouts // of the dialogue
	Now       func() time.Time

	headStart time.Duration // of the first address of two families; longer in tests
}

// Client delivers. It is safe for use by many goroutines. It keeps connections for messages to come, and remembers which
// addresses did not work.
type Client struct {
	opt   Options
	pool  pool
	aside aside
}

// New returns a Client.
func New(o Options) *Client {
	if o.Helo == "" {
		o.Helo = o.Hostname
	}
	if o.Port == 0 {
		o.Port = 25
	}
	if o.TLS == "" {
		o.TLS = mta.TLSOpportunistic
	}
	if o.Own == nil {
		o.Own = func(netip.AddrPort) bool { return false }
	}
	if o.Dial == nil {
		o.Dial = dialTCP
	}
	if o.Connect <= 0 {
		o.Connect = 30 * time.Second
	}
	if o.headStart <= 0 {
		o.headStart = headStart
	}
	if o.Spread <= 0 {
		o.Spread = 10 * time.Minute
	}
	if o.Total <= 0 {
		o.Total = time.Hour
	}
	if o.MaxTry <= 0 {
		o.MaxTry = 10
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{opt: o}
	c.pool.idle, c.aside.until = map[poolKey][]*session{}, map[string]time.Time{}
	return c
}

// Close says goodbye on the connections that wait, and returns when all are closed. Deliver works on without them.
func (c *Client) Close() { c.pool.close() }

func dialTCP(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// Deliver makes one attempt. There is an Outcome for each recipient, in order; when ctx ends, those that are not decided
// are deferred. Up says that the attempt tells nothing against the destination's hosts: one of them has judged the
// message, or there was no need to ask them. Where it is false, any other message would fare the same just now.
func (c *Client) Deliver(ctx context.Context, r Request) (out []mta.Outcome, up bool) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Total)
	defer cancel()
	d := &delivery{c: c, opt: &c.opt, r: r, out: make([]mta.Outcome, len(r.Rcpts)), open: map[int]bool{}, start: c.opt.Now()}
	for i := range r.Rcpts {
		d.open[i] = true
	}
	defer d.drop()
	d.walk(ctx)
	return d.out, d.judged || ctx.Err() != nil || d.last.Status != mta.Deferred
}

// delivery is the state of one Deliver.
type delivery struct {
	c      *Client
	opt    *Options
	r      Request
	out    []mta.Outcome
	open   map[int]bool // recipients without an outcome
	start  time.Time
	tried  int
	judged bool        // an outcome is not about the hosts
	last   mta.Outcome // what those are told that no host has decided on
	said   bool        // last is set
	shape  *shape

	recoded *recode.Reader // the content in another form, nil = it was not needed so far
	other   Content        // ... with its signatures renewed
	need    recode.Need    // ... which form
	fields  *fields

	policies map[string]verdict // by host
	sts      *mtasts.Policy
	stsErr   error
	stsAsked bool
}

// walk goes through the hosts until every recipient has an outcome. Addresses that have failed a short while ago come
// last, whatever their preference.
func (d *delivery) walk(ctx context.Context) {
	groups, bad := d.hosts(ctx)
	if bad != nil {
		d.remember(*bad)
	}
	var late []peer
	for _, g := range groups {
		if d.reuse(ctx, g); len(d.open) == 0 || d.exhausted(ctx) {
			break // what is decided must not wait for the names of hosts that nobody needs
		}
		peers, own := d.peers(ctx, g)
		if own {
			if d.tried == 0 {
				d.remember(d.ourselves())
			}
			break
		}
		peers, aside := d.c.aside.part(peers, d.opt.Now())
		late = append(late, aside...)
		d.visit(ctx, peers)
	}
	d.visit(ctx, late)
	if ctx.Err() != nil {
		d.last = d.deferred(451, "4.4.2", "delivery was interrupted", context.Cause(ctx))
	}
	for i := range d.open {
		d.out[i] = d.last
	}
}

// visit tries addresses in their order.
func (d *delivery) visit(ctx context.Context, peers []peer) {
	for len(peers) > 0 && len(d.open) > 0 && !d.exhausted(ctx) {
		n := 1
		if len(peers) > 1 && otherFamily(peers[0], peers[1]) {
			n = 2
		}
		left := d.try(ctx, peers[:n])
		peers = append(left, peers[n:]...)
	}
}

func (d *delivery) exhausted(ctx context.Context) bool {
	return ctx.Err() != nil || d.tried >= d.opt.MaxTry || d.opt.Now().Sub(d.start) > d.opt.Spread
}

// remember keeps what a host has said of itself. A deferral outweighs a failure: the next attempt may find that host.
func (d *delivery) remember(o mta.Outcome) {
	if !d.said || d.last.Status == mta.Failed || o.Status == mta.Deferred {
		d.last, d.said = o, true
	}
}

// level is the TLS that the destination asks for.
func (d *delivery) level() mta.TLSLevel {
	l := d.r.Dest.TLS
	if l == "" {
		l = d.opt.TLS
	}
	if d.r.Dest.Login != "" {
		l = mta.TLSVerify
	}
	if d.r.Dest.Implicit && l != mta.TLSVerify {
		l = mta.TLSEncrypt
	}
	return l
}

func shuffle(hosts []string) {
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
}
