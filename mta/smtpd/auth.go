package smtpd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// authTime bounds one password check, the wait for its turn included.
const authTime = time.Minute

// offersAuth: passwords cross TLS only (RFC 4954 9), and only where people send their mail.
func (s *session) offersAuth() bool {
	return s.o.Auth != nil && s.tls != nil && s.l.Role == mta.RoleSubmission
}

// auth is RFC 4954 4.
func (s *session) auth(args string) mta.Reply {
	switch {
	case s.o.Auth == nil || s.l.Role != mta.RoleSubmission:
		return reply(502, "5.5.1", "AUTH is not available here")
	case s.tls == nil:
		return reply(538, "5.7.11", "Encryption is needed, send STARTTLS first")
	case s.helo == "" || !s.esmtp:
		return reply(503, "5.5.1", "Send EHLO first")
	case s.login != "":
		return reply(503, "5.5.1", "Somebody has logged in already")
	case s.tx.open:
		return reply(503, "5.5.1", "Not within a transaction")
	}
	mech, initial, _ := strings.Cut(args, " ")
	if mech == "" {
		return reply(501, "5.5.4", "Syntax: AUTH mechanism")
	}
	g := &gate{Accounts: s.o.Auth, s: s}
	ctx, cancel := context.WithTimeout(s.c.ctx, authTime+3*s.o.Idle) // three responses at most
	defer cancel()
	x, err := sasl.New(ctx, mech, g, sasl.BindingsOf(s.tls))
	if err != nil {
		return reply(504, "5.5.4", "Mechanism not available")
	}
	r, err := s.exchange(x, strings.TrimSpace(initial))
	mech = strings.ToUpper(mech)
	switch {
	case err != nil:
		r = s.authRefusal(ctx, err, g, mech)
		s.o.Metrics.logins.WithLabelValues(mech, loginResult(err)).Inc()
		return r
	case s.end || r.Code != 0:
		return r
	}
	if s.o.Logins != nil {
		s.o.Logins.Succeeded(s.remote.Addr(), g.login)
	}
	s.login = x.Identity()
	s.o.Log.SMTPLogin(s.who(), mech)
	s.o.Metrics.logins.WithLabelValues(mech, "ok").Inc()
	return reply(235, "2.7.0", "Authentication succeeded")
}

// exchange lets client and mechanism talk. The error is the mechanism's; a reply, or s.end, ends it otherwise.
func (s *session) exchange(x sasl.Server, initial string) (mta.Reply, error) {
	response, err := sasl.DecodeInitial(initial)
	for err == nil {
		challenge, done, err := x.Next(response)
		if done || err != nil {
			return mta.Reply{}, err
		}
		s.write(reply(334, "", sasl.Encode(challenge)))
		in, rerr := s.readLine()
		if rerr != nil {
			s.fail(rerr)
			return mta.Reply{}, nil
		}
		if in.long {
			return tooLong("AUTH"), nil
		}
		if in.fault.Code != 0 {
			return in.fault, nil
		}
		if response, err = sasl.Decode(string(in.text)); err != nil {
			return mta.Reply{}, err
		}
	}
	return mta.Reply{}, err
}

// authRefusal tells apart who is not let in (RFC 4954 6).
func (s *session) authRefusal(ctx context.Context, err error, g *gate, mech string) mta.Reply {
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		return reply(501, "5.7.0", "Authentication cancelled")
	case errors.Is(err, sasl.ErrMalformed):
		return reply(501, "5.5.2", "Malformed authentication response")
	case errors.Is(err, sasl.ErrBindingType):
		return reply(504, "5.5.4", "Channel binding type not available")
	case errors.Is(err, sasl.ErrBinding):
		s.o.Log.SMTPBindingFailed(s.who(), mech, err)
		return reply(535, "5.7.8", "Channel binding does not fit, somebody may be in the middle")
	case errors.Is(err, sasl.ErrTransition):
		return reply(432, "4.7.12", "A password transition is needed: log in by PLAIN or LOGIN until a new password is set")
	case errors.Is(err, sasl.ErrCredentials):
		g.failed(ctx)
		s.o.Log.SMTPLoginFailed(s.who(), g.login, mech)
		return reply(535, "5.7.8", "Authentication credentials invalid")
	}
	s.o.Log.SMTPFault(s.who(), "auth", "", err)
	return reply(454, "4.7.0", "Temporary authentication failure")
}

// loginResult is why a login did not come about, as a label.
func loginResult(err error) string {
	for _, x := range []struct {
		is   error
		word string
	}{
		{sasl.ErrCancelled, "cancelled"}, {sasl.ErrMalformed, "malformed"}, {sasl.ErrBindingType, "binding"}, {sasl.ErrBinding, "binding"},
		{sasl.ErrTransition, "transition"}, {sasl.ErrCredentials, "credentials"},
	} {
		if errors.Is(err, x.is) {
			return x.word
		}
	}
	return "fault"
}

// gate stands before the accounts: it makes who guesses wait, and remembers the name for the log.
type gate struct {
	sasl.Accounts
	s     *session
	login string
	began time.Time
}

func (g *gate) Authenticate(ctx context.Context, login, password string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, authTime)
	defer cancel()
	if err := g.delay(ctx, login); err != nil {
		return "", err
	}
	return g.Accounts.Authenticate(ctx, login, password)
}

func (g *gate) Scram(ctx context.Context, login string) (string, mta.ScramVerifier, error) {
	ctx, cancel := context.WithTimeout(ctx, authTime)
	defer cancel()
	if err := g.delay(ctx, login); err != nil {
		return "", mta.ScramVerifier{}, err
	}
	return g.Accounts.Scram(ctx, login)
}

// delay lets the time go by that earlier failures have earned.
func (g *gate) delay(ctx context.Context, login string) error {
	g.login, g.began = login, time.Now()
	if g.s.o.Logins == nil {
		return nil
	}
	return wait(ctx, g.s.o.Logins.Delay(g.s.remote.Addr(), login))
}

// failed counts a refusal and waits: who guesses over many connections at once was not slowed before. The refusal stands,
// however the wait ends.
func (g *gate) failed(ctx context.Context) {
	if l := g.s.o.Logins; l != nil {
		_ = wait(ctx, l.Failed(g.s.remote.Addr(), g.login)-time.Since(g.began))
	}
}

// wait lets d go by; the context's end is its error.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
