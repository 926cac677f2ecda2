package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// errPlain says that TLS was tried, did not work, and may be left out.
var errPlain = errors.New("TLS does not work with this server")

// try delivers to the first of one or two addresses of a host that answers, a second time without TLS where a handshake
// that is not required has failed. What was not needed is returned.
func (d *delivery) try(ctx context.Context, peers []peer) (left []peer) {
	pol, bad := d.policy(ctx, peers[0].host)
	if bad != nil {
		d.judged = true // by a policy of this domain: it says nothing of the hosts to the others
		d.remember(*bad)
		return nil
	}
	conn, p, left := d.dial(ctx, peers)
	if conn == nil {
		return nil
	}
	a := &attempt{peer: p, pol: pol, local: conn.LocalAddr()}
	c, err := d.begin(ctx, conn, a)
	d.note(a, c, err)
	var note error
	if errors.Is(err, errPlain) {
		note = err
		if conn, p, _ = d.dial(ctx, []peer{p}); conn == nil {
			return left
		}
		d.tried-- // the same address
		a = &attempt{peer: p, pol: pol.plain(), local: conn.LocalAddr()}
		c, err = d.begin(ctx, conn, a)
		d.note(a, c, err)
	}
	if o := d.required(a, c, err); o != nil {
		if err == nil {
			c.Quit()
		}
		d.judged = true
		d.remember(*o)
		return left
	}
	if err != nil {
		o := d.outcome(p, nil, "connect", mta.Reply{}, err)
		if note != nil {
			o.Cause = errors.Join(o.Cause, note)
		}
		d.remember(o)
		if pol.why != "" && isTLS(err) {
			d.judged = true
		} else {
			d.putAside(ctx, p)
		}
		return left
	}
	if !d.r.Dest.Named() && strings.EqualFold(strings.TrimSuffix(c.Greeted(), "."), d.opt.Hostname) {
		c.Close()
		d.remember(d.ourselves())
		return left
	}
	d.use(ctx, &session{Client: c, peer: p, key: d.key(p.host), pol: pol, note: note, since: d.opt.Now()})
	return left
}

// use sends the message on a connection, and keeps that for the next one where it can be.
func (d *delivery) use(ctx context.Context, s *session) {
	usable, served := d.transact(ctx, s)
	s.used++
	switch {
	case ctx.Err() != nil:
		s.Close()
	case !usable:
		s.Close()
		if !served && s.used == 1 {
			d.putAside(ctx, s.peer)
		}
	default:
		d.c.pool.put(s, d.opt)
	}
}

// putAside lets the next messages go to other hosts first.
func (d *delivery) putAside(ctx context.Context, p peer) {
	if ctx.Err() == nil {
		d.c.aside.put(p, d.opt.Now())
	}
}

// begin returns a connection that is ready for MAIL; a closed one beside an error, where the server was heard.
func (d *delivery) begin(ctx context.Context, conn net.Conn, a *attempt) (*smtpc.Client, error) {
	if d.r.Dest.Implicit {
		t, err := smtpc.Handshake(ctx, conn, d.tls(a), d.opt.Limits.Handshake)
		if err != nil {
			_ = conn.Close()
			return nil, &trouble{"4.7.5", "TLS handshake failed", err}
		}
		conn = t
	}
	open := smtpc.New
	if d.r.Dest.LMTP {
		open = smtpc.NewLMTP
	}
	c := open(ctx, conn, d.opt.Helo, d.opt.Limits)
	if err := d.prepare(c, a); err != nil {
		c.Close()
		return c, err
	}
	return c, nil
}

// prepare says hello, raises TLS as the policy asks, and logs in.
func (d *delivery) prepare(c *smtpc.Client, a *attempt) error {
	if err := c.Hello(); err != nil {
		return err
	}
	if c.TLS() == nil && a.pol.level != mta.TLSNone {
		if err := d.startTLS(c, a); err != nil {
			return err
		}
	}
	if d.r.Dest.Login == "" {
		return nil
	}
	user, password, err := ReadLogin(d.r.Dest.Login)
	if err == nil {
		err = c.Auth(user, password)
	}
	if err != nil {
		return &trouble{"4.7.8", "login did not work", err}
	}
	return nil
}

func (d *delivery) startTLS(c *smtpc.Client, a *attempt) error {
	must := a.pol.level != mta.TLSOpportunistic
	if !c.Extensions().Has("STARTTLS") {
		if must {
			return &trouble{"4.7.4", "TLS is required and not offered", errNoTLS}
		}
		return nil
	}
	err := c.StartTLS(d.tls(a))
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

// transact sends the message on a good connection, in several transactions where the server takes only so many
// recipients in one (RFC 5321 4.5.3.1.10). Recipients that it leaves open are for the next host. Usable says that the
// connection is good for another message, served that the server has taken the message or judged it.
func (d *delivery) transact(ctx context.Context, s *session) (usable, served bool) {
	asked, err := d.look()
	content, form, ferr := d.r.Content, asked, error(nil)
	if err == nil {
		content, form, ferr = d.fit(s.Client, asked)
	}
	switch {
	case err != nil || errors.Is(ferr, smtpc.ErrContent):
		d.settleAll(d.deferred(451, "4.3.0", "message cannot be read just now", errors.Join(err, ferr)))
		return true, true
	case ferr != nil:
		d.settleAll(d.unfit(s.peer, s.Client, ferr))
		return true, true
	}
	for again := true; again; {
		m, index := d.message(s.peer, s.Client, content, form)
		if len(index) == 0 {
			return true, true
		}
		content.Reset()
		results, ok, err := s.Send(m)
		if err != nil {
			d.settleAll(d.unfit(s.peer, s.Client, err))
			return true, true
		}
		usable = ok
		again = ok && slices.ContainsFunc(results, func(r smtpc.Result) bool { return r.Err == nil })
		if d.conclude(ctx, s, results, index, again) {
			served = true
		}
		again = again && len(d.open) > 0
	}
	return usable, served
}

// conclude gives outcomes to the recipients of one transaction; split leaves open those that were too many for it.
// It returns whether the server has judged any.
func (d *delivery) conclude(ctx context.Context, s *session, results []smtpc.Result, index []int, split bool) (judged bool) {
	for k, res := range results {
		if split && tooMany(res) {
			continue
		}
		o := d.outcome(s.peer, s.TLS(), res.Stage, res.Reply, res.Err)
		o.DSN = o.Status == mta.Delivered && s.Extensions().Has("DSN")
		o.By = o.Status == mta.Delivered && s.Extensions().Has("DELIVERBY")
		o.Final = o.Status == mta.Delivered && d.r.Dest.LMTP
		if o.TLS != "" && s.pol.why != "" {
			o.TLS += " " + s.pol.why
		}
		if s.note != nil {
			o.Cause = errors.Join(o.Cause, s.note)
		}
		if elsewhere(ctx, res) {
			if s.used == 0 {
				d.remember(o)
			} else if !d.said { // one that has waited may simply have been closed meanwhile: it is asked anew
				d.last = o
			}
			continue
		}
		judged = true
		d.settle(index[k], o)
	}
	return judged
}

// tooMany says that a recipient was refused for no other reason than the number of those before it.
func tooMany(r smtpc.Result) bool {
	return r.Stage == "RCPT" && r.Err != nil && r.Reply.Code == 452 && (r.Reply.Enhanced == "" || r.Reply.Enhanced == "4.5.3")
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
