package pop3d

import (
	"context"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// gate stands before the accounts, for one attempt to log in: it completes the login, lets the time go by that earlier
// failures of this client and this login have earned, and remembers who was asked for.
type gate struct {
	sasl.Accounts
	s     *session
	login string
	began time.Time
}

// Authenticate is sasl.Accounts'.
func (g *gate) Authenticate(ctx context.Context, login, password string) (identity string, err error) {
	if err := g.delay(ctx, login); err != nil {
		return "", err
	}
	e := g.s.opt.Elsewhere
	if e == nil || !e.Serves(g.login) {
		return g.Accounts.Authenticate(ctx, g.login, password)
	}
	g.s.dropHanded()
	identity, process, err := e.Open(ctx, g.login, password)
	if err == nil {
		g.s.handed = process
	}
	return identity, err
}

// Scram is sasl.Accounts'.
func (g *gate) Scram(ctx context.Context, login string) (identity string, v mta.ScramVerifier, err error) {
	if err := g.delay(ctx, login); err != nil {
		return "", mta.ScramVerifier{}, err
	}
	return g.Accounts.Scram(ctx, g.login)
}

// dropHanded ends a process that is not to serve the client after all.
func (s *session) dropHanded() {
	if s.handed != nil {
		_ = s.handed.Close()
		s.handed = nil
	}
}

func (g *gate) delay(ctx context.Context, login string) error {
	g.login, g.began = g.s.complete(login), time.Now()
	if !sleep(ctx, g.s.opt.Delay.Delay(g.s.peer, g.login)) {
		return ctx.Err()
	}
	return nil
}

// refused counts a refusal and waits: who guesses over many connections at once was not slowed before. The refusal stands,
// however the wait ends.
func (g *gate) refused(ctx context.Context) {
	_ = sleep(ctx, g.s.opt.Delay.Failed(g.s.peer, g.login)-time.Since(g.began))
}

func (g *gate) succeeded() { g.s.opt.Delay.Succeeded(g.s.peer, g.login) }

// complete gives a login without a domain the one that it has here.
func (s *session) complete(login string) string {
	if !strings.Contains(login, "@") && s.opt.DefaultDomain != "" {
		login += "@" + s.opt.DefaultDomain
	}
	return login
}
