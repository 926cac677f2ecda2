package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/checkpassword"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// errPassword says no more than that: who exists is nobody's business.
var errPassword = errors.New("no such user, or not the password")

// maxPrograms bounds the checkpassword programs at once. They wait more than they work: PAM makes who failed wait.
const maxPrograms = 16

// maxAsked leaves room for any name beside a password, in what a program is told.
const maxAsked = 400

// checkPassword says whether a password is that of a user who may log in. All refusals take the same work.
func (s *server) checkPassword(ctx context.Context, set *settings, name, password string) error {
	turns, check := s.checks, checkShadow
	if set.cfg.Mailboxes.SystemPasswords == "checkpassword" {
		turns, check = s.programsAsked, s.ask(set.cfg.Users.Checkpassword.Command)
	}
	_, err := set.person(ctx, name, set.cfg.Mailboxes.SystemMinUID) // before its turn: a name service that hangs holds up its own users alone
	if err != nil && !errors.Is(err, errNobody) {
		return err
	}
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turns }()
	return check(ctx, name, password, err == nil)
}

// checkShadow holds the password against /etc/shadow.
func checkShadow(_ context.Context, name, password string, may bool) error {
	entry, hashes, err := accounts.ReadShadow(name)
	if err != nil {
		return err
	}
	hash := entry.Hash
	if now := time.Now(); !may || entry.Locked() || entry.Expired(now) || entry.Stale(now) {
		hash = ""
	}
	ok, err := directory.MatchCrypt(hash, directory.CommonCrypt(hashes), password)
	switch {
	case err != nil:
		return fmt.Errorf("%s: user %s: %w", accounts.ShadowFile, name, err)
	case !ok:
		return errPassword
	}
	return nil
}

// ask has a checkpassword program say whether it is the password. The password's age and lock are the program's business:
// it need not be that of /etc/shadow; that the account is over counts here too.
func (s *server) ask(command []string) func(ctx context.Context, name, password string, may bool) error {
	return func(ctx context.Context, name, password string, may bool) error {
		entry, _, err := accounts.ReadShadow(name)
		if err != nil {
			return err
		}
		if may = may && !entry.Expired(time.Now()); !may {
			name = checkpassword.Stranger
		}
		if len(password) > maxAsked {
			return errPassword
		}
		err = checkpassword.Program{Command: command, Start: s.startAsRoot, Ended: s.endAsRoot}.Check(ctx, name, password)
		if err == nil && !may || errors.Is(err, mta.ErrCredentials) {
			return errPassword
		}
		return err
	}
}
