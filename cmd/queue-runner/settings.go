package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// drainTimeout is how long deliveries under way may go on after the signal to stop.
const drainTimeout = 30 * time.Second

// builder turns configurations into settings.
type builder struct {
	path   string
	spool  string // the spool that is open
	log    *maillog.Log
	tls    *transport
	users  userdb.Opener
	people *accounts.Source

	quotas  *local.Quotas
	turns   *turns // of deliveries to users of the machine
	metrics *metrics
	out     *remote.Client // of the last settings
}

// settings opens what a configuration names. It changes nothing when it fails.
func (b *builder) settings(c *config.Config) (runner.Settings, error) {
	if c.Spool.Path != b.spool {
		return runner.Settings{}, config.Errors{{File: b.path, Key: "spool.path", Msg: "changes at a restart only"}}
	}
	users, err := b.users.Open(c, directory.Options{DropVerifiers: true, Log: b.log})
	if err != nil {
		return runner.Settings{}, b.fault(userdb.Key(c), err)
	}
	ro := route.FromConfig(c)
	ro.Aliases = userdb.Aliases(c, users)
	people := directory.NewMachine(c, users, b.people)
	b.people = people.From
	ro.Users, ro.AliasError = people, b.log.AliasesRefused
	srs, err := openSRS(c)
	if err != nil {
		return runner.Settings{}, b.fault("srs.enabled", err)
	}
	if srs != nil {
		ro.Returns = srs
	}
	router, err := route.New(ro)
	if err != nil {
		return runner.Settings{}, b.fault("domains", err)
	}
	signs, err := newSigner(c)
	if err != nil {
		return runner.Settings{}, b.fault("domains", err)
	}
	deliverer, err := b.deliverer(c)
	if err != nil {
		return runner.Settings{}, b.fault("mailboxes.welcome", err)
	}
	out, err := b.outbound(c, signs)
	if err != nil {
		return runner.Settings{}, err
	}
	b.tls.signs.Store(signs)
	b.replace(out)
	search := deliverer
	search.FS = newListings(durable.OS{})
	q, template := c.Queue, c.Mailboxes.Path
	return runner.Settings{
		Router:   router,
		Local:    deliverer,
		Search:   search,
		Remote:   carrier{out},
		System:   b.system(c),
		Mailbox:  func(a mta.Address) (string, error) { return maildir.Path(template, a) },
		Sign:     signs,
		Rewrite:  rewriting(srs, router, c.Hostname),
		Publish:  publisher(filepath.Join(c.Run, "queue", "status"), b.room(users, int64(c.Mailboxes.Quota))),
		Metrics:  b.metrics.runner,
		Hostname: c.Hostname, Postmaster: c.PostmasterAddress(),
		Lifetime: q.Lifetime, BounceLifetime: q.BounceLifetime, RetryFirst: q.RetryFirst, RetryMax: q.RetryMax, DelayNotice: q.DelayNotice,
		MaxRemote: q.MaxDeliveries, MaxPerDestination: q.MaxPerDestination, MaxLocal: q.MaxLocal, Drain: drainTimeout,
	}, nil
}

// deliverer is what puts messages into mailboxes.
func (b *builder) deliverer(c *config.Config) (local.Deliverer, error) {
	d := local.Deliverer{
		FS: durable.OS{}, Host: c.Hostname, Sync: c.Spool.Sync,
		Quotas: b.quotas, QuotaBounces: c.Mailboxes.QuotaFull == "552", QuotaWarning: c.Mailboxes.QuotaWarning,
	}
	if c.Mailboxes.Welcome == "" {
		return d, nil
	}
	var err error
	d.Welcome, err = local.ReadWelcome(c.Mailboxes.Welcome)
	return d, err
}

// room tells of mailboxes that are nearly full, by what their users may hold now.
func (b *builder) room(users route.Users, standard int64) func() map[string]int64 {
	return func() map[string]int64 {
		left := map[string]int64{}
		for login, octets := range b.quotas.Room(func(a mta.Address) int64 {
			u, err := users.Lookup(context.Background(), a)
			switch {
			case err != nil:
				return 0
			case u.Quota < 0:
				return standard
			}
			return u.Quota
		}) {
			left[login.String()] = octets
		}
		return left
	}
}

// replace puts a new client in the place of the old one, whose deliveries go on; connections that wait are closed.
func (b *builder) replace(out *remote.Client) {
	if b.out != nil {
		b.out.Close()
	}
	b.out = out
}

// fault makes what is wrong inside a file that a key names a fault of the configuration. That the file cannot be read is
// none: it stays an error of its own.
func (b *builder) fault(key string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return err
	}
	return config.Errors{{File: b.path, Key: key, Msg: err.Error()}}
}

func (b *builder) outbound(c *config.Config, signs *signer) (*remote.Client, error) {
	ro, err := remote.FromConfig(c)
	if err != nil {
		return nil, err
	}
	if err := b.tls.configure(c); err != nil {
		return nil, err
	}
	ro.Key = signs.key
	ro.Resolver, ro.Watcher = b.tls.names.Load(), tlsWatcher{b.tls.results, b.metrics.tls}
	if c.Outbound.MTASTS {
		ro.STS = b.tls.sts
	}
	return remote.New(ro), nil
}

// carrier is mta/remote as the runner sees it.
type carrier struct{ c *remote.Client }

var _ runner.Remote = carrier{}

// Site implements runner.Remote.
func (x carrier) Site(ctx context.Context, d mta.Destination) string { return x.c.Site(ctx, d) }

// Deliver implements runner.Remote.
func (x carrier) Deliver(ctx context.Context, t runner.Transaction) (out []mta.Outcome, up bool) {
	e := t.Envelope
	return x.c.Deliver(ctx, remote.Request{
		Dest: t.Dest, Sender: e.Sender, Rcpts: t.Rcpts, SMTPUTF8: e.SMTPUTF8, RequireTLS: e.RequireTLS, Ret: e.Ret, EnvID: e.EnvID, By: e.DeliverBy, Priority: e.Priority,
		Content: message.NewReader(e.Prepend, e.Cut, t.Content, t.Size),
	})
}
