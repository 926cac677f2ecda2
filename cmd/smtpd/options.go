package main

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/spool"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/userdb"
	"github.com/posthouse-mail/posthouse/mta/verify"
)

// builder turns configurations into options. What must outlive a reload is here: the spool, who is connected, and who
// failed to log in.
type builder struct {
	path         string
	first        *config.Config // the one whose sockets are open
	log          *maillog.Log
	queue        smtpd.Queue
	users        userdb.Opener
	people       *accounts.Source
	conns        *guard.Conns
	max, perHost int
	handshakes   *guard.Turns
	delay        *guard.LoginDelay
	unknown      *guard.UnknownDelay
	rates        *guard.Rates
	shared       guard.Sharing
	metrics      *smtpd.Metrics
	tls          atomic.Pointer[tlsconf.Server] // of the last options; nil: none
	room         atomic.Pointer[room]           // likewise
	verifier     *verify.Verifier
	out          *remote.Client // asks next hosts; nil: there is nothing to ask
}

func newBuilder(path string, c *config.Config, log *maillog.Log, w *spool.Writer) *builder {
	return &builder{path: path, first: c, log: log, queue: queue{w}, delay: guard.NewLoginDelay(nil), unknown: guard.NewUnknownDelay(nil), rates: guard.NewRates(nil), verifier: verify.New(), metrics: smtpd.NewMetrics()}
}

// options opens what a configuration names. It changes nothing when it fails.
func (b *builder) options(c *config.Config) (smtpd.Options, error) {
	if err := b.checkFixed(c); err != nil {
		return smtpd.Options{}, err
	}
	users, err := b.users.Open(c, directory.Options{Log: b.log})
	if err != nil {
		return smtpd.Options{}, config.FileFault(b.path, userdb.Key(c), err)
	}
	helper := asuser.Client{Path: filepath.Join(c.Run, "as-user", asuser.SocketName)}
	people := directory.NewMachine(c, users, b.people)
	b.people = people.From
	people.Check = helper.Check
	ro := route.FromConfig(c)
	ro.Users, ro.Aliases, ro.AliasError = people, userdb.Aliases(c, users), b.log.AliasesRefused
	if c.SRS.Enabled {
		switch srs, err := sign.OpenSRS(layout.SRSFile(c)); {
		case err != nil:
			return smtpd.Options{}, config.FileFault(b.path, "srs.enabled", err)
		case srs != nil:
			ro.Returns = srs
		}
	}
	rt, err := route.New(ro)
	if err != nil {
		return smtpd.Options{}, config.FileFault(b.path, "domains", err)
	}
	rules, err := b.policy(c)
	if err != nil {
		return smtpd.Options{}, err
	}
	var secure func() *tls.Config
	var certificates *tlsconf.Server
	if c.TLS.Certificate != "" {
		to := tlsconf.FromConfig(c.TLS)
		to.NoTickets = true // a message or two a session: there is little to gain, and mail from outlook.com to lose
		if certificates, err = tlsconf.Open(to, b.log); err != nil {
			return smtpd.Options{}, config.FileFault(b.path, "tls.certificate", err)
		}
		secure = certificates.Config
	}
	out, err := newOutbound(c)
	if err != nil {
		return smtpd.Options{}, err
	}
	if err := b.share(c); err != nil {
		return smtpd.Options{}, err
	}
	p := c.SMTPD
	if b.conns == nil || p.MaxConnections != b.max || p.MaxPerClient != b.perHost {
		b.conns, b.max, b.perHost = guard.NewConns(p.MaxConnections, p.MaxPerClient), p.MaxConnections, p.MaxPerClient
		// Handshakes are what costs most: a quarter of what there may be at once, so that the others get on.
		b.handshakes = guard.NewTurns(max(p.MaxConnections/4, 4), max(p.MaxPerClient/4, 2))
	}
	b.rates.SetLimits(rates(p.Rate))
	room := newRoom(c)
	if b.out != nil {
		b.out.Close()
	}
	b.out = out
	b.tls.Store(certificates)
	b.room.Store(room)
	return smtpd.Options{
		Peer:     func(nc net.Conn) (smtpd.Peer, error) { return peer(nc, people.From) },
		Hostname: c.Hostname, Queue: b.queue, Router: router{rt, b.verifier, out}, Auth: people, Senders: newSenders(rt, c), Logins: b.delay, Conns: b.conns, TLS: secure, Handshakes: b.handshakes,
		Disk: room.check, Full: room.full, FullBounces: c.Mailboxes.QuotaFull == "552", Rates: b.rates, Log: b.log, Metrics: b.metrics, Trusted: p.TrustedNetworks, ProxyFrom: p.ProxyProtocolFrom, XclientFrom: p.XclientFrom,
		Sizes: sizes(c), MaxRecipients: p.MaxRecipients, MaxErrors: p.MaxErrors, MaxLine: int(p.MaxLine), MaxHops: c.Queue.MaxHops,
		RepairLF: p.BareNewline == "normalize", RequireTLS: true, Policy: rules,
		DeliverBy: true, Priority: true, FutureRelease: p.FutureReleaseMax,
		Idle: p.IdleTimeout, Session: p.SessionTimeout, Drain: p.DrainTimeout, MinRate: int64(p.MinRate),
	}, nil
}

// share has what is limited counted together with other hosts, where the configuration says so.
func (b *builder) share(c *config.Config) error {
	url, err := c.Shared.URL()
	if err == nil {
		err = b.shared.Use(url, b.log, b.rates, b.delay)
	}
	if err != nil {
		return config.FileFault(b.path, "shared.redis_url_file", err)
	}
	return nil
}

// checkFixed refuses to change what is open until the program ends.
func (b *builder) checkFixed(c *config.Config) error {
	same := slices.EqualFunc(c.SMTPD.Listen, b.first.SMTPD.Listen, func(x, y config.SMTPListen) bool {
		return x.Address == y.Address && x.Role == y.Role && x.TLS == y.TLS
	})
	switch {
	case !same:
		return config.Errors{{File: b.path, Key: "smtpd.listen", Msg: "sockets, their roles and their TLS change at a restart only"}}
	case c.Spool.Path != b.first.Spool.Path:
		return config.Errors{{File: b.path, Key: "spool.path", Msg: "changes at a restart only"}}
	}
	return nil
}

func sizes(c *config.Config) map[string]int64 {
	m := map[string]int64{}
	for _, l := range c.SMTPD.Listen {
		m[l.Address] = int64(l.MaxMessageSize)
	}
	return m
}

// queue is the spool as smtpd sees it.
type queue struct{ w *spool.Writer }

func (q queue) Begin() (smtpd.Incoming, error) { return q.w.Begin(), nil }

// peer is smtpd.PeerOf, with the names that are not in /etc/passwd.
func peer(nc net.Conn, from *accounts.Source) (smtpd.Peer, error) {
	p, err := smtpd.PeerOf(nc)
	if err == nil && p.Login == strconv.FormatUint(uint64(p.UID), 10) {
		if a, err := from.LookupUID(context.Background(), p.UID); err == nil {
			p.Login = a.Name
		}
	}
	return p, err
}
