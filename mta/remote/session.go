package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// errPlain says that TLS was tried, did not work, and may be left out.
var errPlain = errors.New("TLS does not work with this server")

// try delivers to one address, a second time without TLS where a handshake that is not required has failed.
func (d *delivery) try(ctx context.Context, p peer) {
	level := d.level()
	c, err := d.connect(ctx, p, level)
	var note error
	if errors.Is(err, errPlain) {
		note = err
		c, err = d.connect(ctx, p, mta.TLSNone)
	}
	if err != nil {
		o := d.outcome(p, nil, "connect", mta.Reply{}, err)
		if note != nil {
			o.Cause = errors.Join(o.Cause, note)
		}
		d.remember(o)
		return
	}
	defer c.Close()
	if d.r.Dest.Host == "" && strings.EqualFold(strings.TrimSuffix(c.Greeted(), "."), d.opt.Hostname) {
		d.remember(d.ourselves())
		return
	}
	d.transact(ctx, p, c, note)
}

// connect returns a connection that is ready for MAIL.
func (d *delivery) connect(ctx context.Context, p peer, level mta.TLSLevel) (*smtpc.Client, error) {
	conn, err := d.dial(ctx, p)
	if err != nil {
		return nil, &trouble{"4.4.1", "cannot be reached", err}
	}
	if d.r.Dest.Implicit {
		t, err := smtpc.Handshake(ctx, conn, d.tls(p, level), d.opt.Limits.Handshake)
		if err != nil {
			_ = conn.Close()
			return nil, &trouble{"4.7.5", "TLS handshake failed", err}
		}
		conn = t
	}
	c := smtpc.New(ctx, conn, d.opt.Helo, d.opt.Limits)
	if err := d.prepare(c, p, level); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (d *delivery) dial(ctx context.Context, p peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opt.Connect)
	defer cancel()
	var source netip.Addr
	for _, s := range d.opt.Source {
		if s.Is4() == p.addr.Addr().Is4() {
			source = s
			break
		}
	}
	return d.opt.Dial(ctx, source, p.addr)
}

func (d *delivery) tls(p peer, level mta.TLSLevel) *tls.Config {
	l := tlsconf.Unverified
	if level == mta.TLSVerify {
		l = tlsconf.Verified
	}
	cfg := tlsconf.Client(l, p.host)
	cfg.RootCAs = d.opt.Roots
	return cfg
}

// prepare says hello, raises TLS as the level asks, and logs in.
func (d *delivery) prepare(c *smtpc.Client, p peer, level mta.TLSLevel) error {
	if err := c.Hello(); err != nil {
		return err
	}
	if c.TLS() == nil && level != mta.TLSNone {
		if err := d.startTLS(c, p, level); err != nil {
			return err
		}
	}
	if d.r.Dest.Login == "" {
		return nil
	}
	user, password, err := readLogin(d.r.Dest.Login)
	if err == nil {
		err = c.Auth(user, password)
	}
	if err != nil {
		return &trouble{"4.7.8", "login did not work", err}
	}
	return nil
}

func (d *delivery) startTLS(c *smtpc.Client, p peer, level mta.TLSLevel) error {
	must := level != mta.TLSOpportunistic
	if !c.Extensions().Has("STARTTLS") {
		if must {
			return &trouble{"4.7.4", "TLS is required and not offered", errors.New("no STARTTLS")}
		}
		return nil
	}
	err := c.StartTLS(d.tls(p, level))
	var r mta.Reply
	switch {
	case err == nil:
		return nil
	case must:
		return &trouble{"4.7.5", "TLS is required and does not work", err}
	case c.TLS() == nil && errors.As(err, &r):
		return nil // refused, and the connection is as it was
	}
	return fmt.Errorf("%w, sent in the clear: %w", errPlain, err)
}

// transact sends the message on a good connection. Recipients that it leaves open are for the next host.
func (d *delivery) transact(ctx context.Context, p peer, c *smtpc.Client, note error) {
	s, err := d.look()
	if err != nil {
		d.settleAll(d.deferred(451, "4.3.0", "message cannot be read just now", err))
		return
	}
	m, index := d.message(p, c, s)
	if len(index) == 0 {
		c.Quit()
		return
	}
	d.r.Content.Reset()
	results, usable, err := c.Send(m)
	if err != nil {
		d.settleAll(d.unfit(p, c, err))
		c.Quit()
		return
	}
	for k, res := range results {
		o := d.outcome(p, c.TLS(), res.Stage, res.Reply, res.Err)
		o.DSN = o.Status == mta.Delivered && c.Extensions().Has("DSN")
		o.By = o.Status == mta.Delivered && c.Extensions().Has("DELIVERBY")
		if note != nil {
			o.Cause = errors.Join(o.Cause, note)
		}
		if elsewhere(ctx, res) {
			d.remember(o)
			continue
		}
		d.settle(index[k], o)
	}
	if usable {
		c.Quit()
	}
}

// elsewhere says whether another host may take a recipient: the connection was lost, or the server is going away,
// before the end of the data.
func elsewhere(ctx context.Context, r smtpc.Result) bool {
	if r.Err == nil || ctx.Err() != nil || errors.Is(r.Err, smtpc.ErrUnknown) || errors.Is(r.Err, smtpc.ErrContent) {
		return false
	}
	var reply mta.Reply
	return !errors.As(r.Err, &reply) || reply.Code == 421 && r.Stage != "end of data"
}
