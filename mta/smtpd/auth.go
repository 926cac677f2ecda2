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
	g := &gate{s: s}
	ctx, cancel := context.WithTimeout(s.c.ctx, authTime+s.o.Idle)
	defer cancel()
	x, err := sasl.New(ctx, mech, g)
	if err != nil {
		return reply(504, "5.5.4", "Mechanism not available")
	}
	mech = strings.ToUpper(mech)
	response, err := sasl.DecodeInitial(strings.TrimSpace(initial))
	done := false
	for err == nil && !done {
		var challenge []byte
		if challenge, done, err = x.Next(response); err != nil || done {
			break
		}
		s.write(reply(334, "", sasl.Encode(challenge)))
		in, rerr := s.readLine()
		if rerr != nil {
			s.fail(rerr)
			return mta.Reply{}
		}
		if in.long {
			return tooLong("AUTH")
		}
		if in.fault.Code != 0 {
			return in.fault
		}
		response, err = sasl.Decode(string(in.text))
	}
	if err != nil {
		return s.authRefusal(err, g.login, mech)
	}
	s.login = x.Identity()
	s.o.Log.SMTPLogin(s.who(), mech)
	return reply(235, "2.7.0", "Authentication succeeded")
}

func (s *session) authRefusal(err error, login, mech string) mta.Reply {
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		return reply(501, "5.7.0", "Authentication cancelled")
	case errors.Is(err, sasl.ErrMalformed):
		return reply(501, "5.5.2", "Malformed authentication response")
	case errors.Is(err, mta.ErrCredentials):
		s.o.Log.SMTPLoginFailed(s.who(), login, mech)
		return reply(535, "5.7.8", "Authentication credentials invalid")
	}
	s.o.Log.SMTPFault(s.who(), "auth", "", err)
	return reply(454, "4.7.0", "Temporary authentication failure")
}

// gate stands before the password check: it makes who guesses wait, and remembers the name for the log.
type gate struct {
	s     *session
	login string
}

func (g *gate) Authenticate(ctx context.Context, login, password string) (string, error) {
	g.login = login
	o, client := g.s.o, g.s.remote.Addr()
	ctx, cancel := context.WithTimeout(ctx, authTime)
	defer cancel()
	if o.Logins == nil {
		return o.Auth.Authenticate(ctx, login, password)
	}
	began := time.Now()
	if err := wait(ctx, o.Logins.Delay(client, login)); err != nil {
		return "", err
	}
	identity, err := o.Auth.Authenticate(ctx, login, password)
	switch {
	case err == nil:
		o.Logins.Succeeded(client, login)
	case errors.Is(err, mta.ErrCredentials):
		// Who guesses over many connections at once was not slowed before. The refusal stands, however the wait ends.
		_ = wait(ctx, o.Logins.Failed(client, login)-time.Since(began))
	}
	return identity, err
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
