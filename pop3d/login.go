package pop3d

import (
	"context"
	"errors"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

const needTLS = "no passwords without TLS: use STLS, or the port for POP3 over TLS"

// errNoLogin ends a session that has used up its attempts.
var errNoLogin = errors.New("too many failed logins")

// userName is USER. Any name is taken: who exists is no answer's matter.
func (s *session) userName(_ context.Context, arg string) error {
	switch {
	case s.tls == nil:
		return s.err(needTLS)
	case arg == "":
		return s.err("USER takes a name")
	}
	if !strings.Contains(arg, "@") && s.opt.DefaultDomain != "" {
		arg += "@" + s.opt.DefaultDomain
	}
	s.user = arg
	return s.ok("send the password")
}

// pass is PASS. Its argument is all of the line: a password may have blanks (RFC 1939 7).
func (s *session) pass(ctx context.Context, password string) error {
	switch {
	case s.tls == nil:
		return s.err(needTLS)
	case s.user == "":
		return s.err("USER comes first")
	}
	login := s.user
	s.user = ""
	s.attempts++
	identity, err := s.check(ctx, login, password)
	if err != nil {
		return s.refuse(login, err)
	}
	return s.open(ctx, login, identity)
}

// check asks the Authenticator, after and before the waits that failures of this client and this login have earned.
func (s *session) check(ctx context.Context, login, password string) (identity string, err error) {
	ctx, cancel := context.WithDeadline(ctx, s.loginBy)
	defer cancel()
	if !sleep(ctx, s.opt.Delay.Delay(s.peer, login)) {
		return "", ctx.Err()
	}
	identity, err = s.opt.Auth.Authenticate(ctx, login, password)
	if errors.Is(err, mta.ErrCredentials) {
		_ = sleep(ctx, s.opt.Delay.Failed(s.peer, login))
		return "", err
	}
	if err == nil {
		s.opt.Delay.Succeeded(s.peer, login)
	}
	return identity, err
}

// refuse answers a failed login; the response codes are those of RFC 2449 8.1.1 and RFC 3206.
func (s *session) refuse(login string, err error) error {
	s.opt.Log.POP3LoginFailed(s.id, s.client(), login, err)
	text := "[SYS/TEMP] login does not work now, try again later"
	switch {
	case errors.Is(err, mta.ErrCredentials):
		text = "[AUTH] bad login or password"
	case errors.Is(err, maildir.ErrInUse):
		text = "[IN-USE] mailbox is open in another session"
	}
	if s.attempts >= s.opt.LoginAttempts {
		return s.leave(errNoLogin, text)
	}
	return s.err("%s", text)
}

// open takes the snapshot and begins the transaction state.
func (s *session) open(ctx context.Context, login, identity string) error {
	path, err := s.opt.Mailbox(identity)
	if err != nil {
		return s.refuse(login, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.IdleTimeout)
	defer cancel()
	drop, err := maildir.OpenMaildrop(ctx, path)
	if err != nil {
		return s.refuse(login, err)
	}
	s.drop, s.identity = drop, identity
	s.deleted = make([]bool, drop.Len())
	s.recount()
	s.opt.Log.POP3Login(s.id, s.client(), identity, s.describeTLS(), s.count, s.octets)
	return s.ok("%d messages (%d octets)", s.count, s.octets)
}
