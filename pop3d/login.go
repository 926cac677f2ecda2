package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/sasl"
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
	s.user = s.complete(arg)
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
	s.user, s.mech = "", "USER"
	s.attempts++
	bounded, cancel := context.WithDeadline(ctx, s.loginBy)
	defer cancel()
	g := &gate{Accounts: s.opt.Auth, s: s}
	identity, err := g.Authenticate(bounded, login, password)
	if err != nil {
		return s.refuse(bounded, g, err)
	}
	g.succeeded()
	return s.open(ctx, login, identity)
}

// refuse answers a failed login; the response codes are those of RFC 2449 8.1 and RFC 3206.
func (s *session) refuse(ctx context.Context, g *gate, err error) error {
	s.dropHanded() // the password was right, and something else was not
	why, text := "fault", "[SYS/TEMP] login does not work now, try again later"
	switch {
	case errors.Is(err, mta.ErrCredentials):
		g.refused(ctx)
		why, text = "credentials", "[AUTH] bad login or password"
	case errors.Is(err, sasl.ErrBinding), errors.Is(err, sasl.ErrBindingType):
		why, text = "binding", "[AUTH] channel binding does not fit, somebody may be in the middle"
	case errors.Is(err, sasl.ErrTransition):
		why, text = "transition", "[AUTH] this login works with other mechanisms only"
	}
	return s.shut(g.login, why, text, err)
}

// notOpened answers a login whose mailbox cannot be opened.
func (s *session) notOpened(login string, err error) error {
	why, text := "fault", "[SYS/TEMP] login does not work now, try again later"
	switch {
	case errors.Is(err, maildir.ErrInUse):
		why, text = "in-use", "[IN-USE] mailbox is open in another session"
	case errors.Is(err, maildir.ErrTooSoon):
		why, text = "login-delay", fmt.Sprintf("[LOGIN-DELAY] wait at least %v between two logins", s.opt.LoginDelay)
	case errors.Is(err, maildir.ErrBadMailbox), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EROFS):
		text = "[SYS/PERM] mailbox cannot be opened until its server is mended"
	}
	return s.shut(login, why, text, err)
}

// shut tells of a login that has failed, and ends a session that has tried often enough.
func (s *session) shut(login, why, text string, err error) error {
	s.opt.Metrics.logins.WithLabelValues(s.mech, why).Inc()
	s.opt.Log.POP3LoginFailed(s.id, s.client(), why, s.mech, login, err)
	if s.attempts >= s.opt.LoginAttempts {
		return s.leave(errNoLogin, text)
	}
	return s.err("%s", text)
}

// open takes the snapshot and begins the transaction state.
func (s *session) open(ctx context.Context, login, identity string) error {
	if s.handed != nil {
		return s.handOver(ctx, login, identity)
	}
	path, err := s.opt.Mailbox(identity)
	if err != nil {
		return s.notOpened(login, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.IdleTimeout)
	defer cancel()
	began := time.Now()
	drop, err := maildir.OpenMaildrop(ctx, path, maildir.Options{MinInterval: s.opt.LoginDelay})
	if err != nil {
		return s.notOpened(login, err)
	}
	s.opt.Metrics.opening.Observe(time.Since(began).Seconds())
	s.opt.Metrics.logins.WithLabelValues(s.mech, "ok").Inc()
	s.opt.Metrics.sessions.Inc()
	s.drop, s.identity = drop, identity
	s.begin()
	if n, err := drop.Unreadable(); n > 0 {
		s.opt.Metrics.unreadable.Add(float64(n))
		s.opt.Log.POP3MessageFailed(s.id, identity, "", fmt.Errorf("%d messages are not shown: %w", n, err))
	}
	s.opt.Log.POP3Login(s.id, s.client(), s.mech, identity, s.describeTLS(), s.count, s.octets)
	return s.ok("%d messages (%d octets)", s.count, s.octets)
}
