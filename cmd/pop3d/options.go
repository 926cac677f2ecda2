package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/userdb"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// drainTimeout is how long an answer under way may go on after the signal to stop.
const drainTimeout = 30 * time.Second

// builder turns configurations into options. What must outlive a reload is here: who is connected, and who failed to log in.
type builder struct {
	users        userdb.Opener
	people       *accounts.Source
	path         string
	listen       []config.POP3Listen
	log          *maillog.Log
	conns        *guard.Conns
	max, perHost int
	handshakes   *guard.Turns
	delay        *guard.LoginDelay
	shared       guard.Sharing
	metrics      *pop3d.Metrics
	tls          atomic.Pointer[tlsconf.Server] // of the last options; nil: none
}

func newBuilder(path string, c *config.Config, log *maillog.Log) *builder {
	return &builder{path: path, listen: c.POP3D.Listen, log: log, delay: guard.NewLoginDelay(nil), metrics: pop3d.NewMetrics()}
}

// options opens what a configuration names. It changes nothing when it fails.
func (b *builder) options(c *config.Config) (pop3d.Options, error) {
	p := c.POP3D
	if !slices.Equal(p.Listen, b.listen) {
		return pop3d.Options{}, config.Errors{{File: b.path, Line: 1, Key: "pop3d.listen", Msg: "sockets change at a restart only"}}
	}
	var policy *tls.Config
	var certificates *tlsconf.Server
	if c.TLS.Certificate != "" {
		s, err := tlsconf.Open(tlsconf.FromConfig(c.TLS), b.log)
		if err != nil {
			return pop3d.Options{}, config.FileFault(b.path, "tls.certificate", err)
		}
		policy, certificates = s.Config(), s
	}
	users, err := b.users.Open(c, directory.Options{DefaultDomain: p.DefaultDomain, Log: b.log})
	if err != nil {
		return pop3d.Options{}, config.FileFault(b.path, userdb.Key(c), err)
	}
	expire, err := capaExpire(p.Expire)
	if err != nil {
		return pop3d.Options{}, err
	}
	if err := b.share(c); err != nil {
		return pop3d.Options{}, err
	}
	if b.conns == nil || p.MaxConnections != b.max || p.MaxPerClient != b.perHost {
		b.conns, b.max, b.perHost = guard.NewConns(p.MaxConnections, p.MaxPerClient), p.MaxConnections, p.MaxPerClient
		// Handshakes are what costs most: a quarter of what there may be at once, so that the others get on.
		b.handshakes = guard.NewTurns(max(p.MaxConnections/4, 4), max(p.MaxPerClient/4, 2))
	}
	b.tls.Store(certificates)
	template, people := c.Mailboxes.Path, directory.NewMachine(c, users, b.people)
	b.people = people.From
	return pop3d.Options{
		Hostname: c.Hostname, TLS: policy, Auth: people, Elsewhere: elsewhere{people, asuser.Client{Path: filepath.Join(c.Run, "as-user", asuser.SocketName)}}, DefaultDomain: p.DefaultDomain,
		Mailbox: func(identity string) (string, error) {
			a, err := mta.ParseAddress(identity)
			if err != nil {
				return "", err
			}
			if people.Domains[a.Domain] {
				return c.Mailboxes.SystemPath, nil
			}
			return maildir.Path(template, a)
		},
		Conns: b.conns, Handshakes: b.handshakes, Delay: b.delay, LoginAttempts: p.LoginAttempts, LoginTimeout: p.LoginTimeout,
		IdleTimeout: p.IdleTimeout, DrainTimeout: drainTimeout, LoginDelay: p.LoginDelay, Expire: expire, UIDL: formerUIDLs(p.UIDL),
		RefuseUTF8: p.UTF8Headers == "refuse",
		Metrics:    b.metrics, Log: b.log,
	}, nil
}

// share has failed logins counted together with other hosts, where the configuration says so. POP3 goes on without that where the
// file is not for it to read.
func (b *builder) share(c *config.Config) error {
	url, err := c.Shared.URL()
	if errors.Is(err, fs.ErrPermission) {
		b.log.SharedAway("", err)
		url, err = "", nil
	}
	if err == nil {
		err = b.shared.Use(url, b.log, b.delay)
	}
	if err != nil {
		return config.FileFault(b.path, "shared.redis_url_file", err)
	}
	return nil
}

// expires is when the first certificate ends; zero where there is none.
func (b *builder) expires() time.Time {
	if s := b.tls.Load(); s != nil {
		return s.Expires()
	}
	return time.Time{}
}

// formerUIDLs is whose UIDLs go on; "" where there is no former server.
func formerUIDLs(uidl string) string {
	switch uidl {
	case "dovecot":
		return maildir.DovecotUIDLs
	case "courier":
		return maildir.CourierUIDLs
	}
	return ""
}

// capaExpire turns "never" or "30d" into the argument of CAPA's EXPIRE (RFC 2449 6.7).
func capaExpire(s string) (string, error) {
	if s == "never" {
		return "NEVER", nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return "", fmt.Errorf("pop3d.expire: %w", err)
	}
	return strconv.FormatInt(int64(d/(24*time.Hour)), 10), nil
}
