package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/checkpassword"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// errPassword says no more than that: who exists is nobody's business.
var errPassword = errors.New("no such user, or not the password")

const (
	shadowFile   = "/etc/shadow"
	shadowFields = 8 // the ninth is for later use, and may be missing

	maxHashes = 100 // that are looked at for what a check costs
)

// maxPrograms bounds the checkpassword programs at once. They wait more than they work: PAM makes who failed wait.
const maxPrograms = 16

// maxAsked leaves room for any name beside a password, in what a program is told.
const maxAsked = 400

// checkPassword says whether a password is that of a user who may log in. All refusals take the same work.
func (s *server) checkPassword(ctx context.Context, cfg *config.Config, name, password string) error {
	turns, check := s.checks, checkShadow
	if cfg.Mailboxes.SystemPasswords == "checkpassword" {
		turns, check = s.programsAsked, s.ask(cfg.Users.Checkpassword.Command)
	}
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turns }()
	_, err := person(name, cfg.Mailboxes.SystemMinUID)
	return check(ctx, name, password, err == nil)
}

// checkShadow holds the password against /etc/shadow.
func checkShadow(_ context.Context, name, password string, may bool) error {
	now := time.Now()
	fields, hashes, err := shadow(name)
	if err != nil {
		return err
	}
	hash := fields[1]
	if !may || strings.HasPrefix(hash, "!") || strings.HasPrefix(hash, "*") || over(fields, now) || stale(fields, now) {
		hash = ""
	}
	ok, err := directory.MatchCrypt(hash, directory.CommonCrypt(hashes), password)
	switch {
	case err != nil:
		return fmt.Errorf("%s: user %s: %w", shadowFile, name, err)
	case !ok:
		return errPassword
	}
	return nil
}

// ask has a checkpassword program say whether it is the password. The password's age and lock are the program's business:
// it need not be that of /etc/shadow; that the account is over counts here too.
func (s *server) ask(command []string) func(ctx context.Context, name, password string, may bool) error {
	return func(ctx context.Context, name, password string, may bool) error {
		fields, _, err := shadow(name)
		if err != nil {
			return err
		}
		if may = may && !over(fields, time.Now()); !may {
			name = checkpassword.Stranger
		}
		if len(password) > maxAsked {
			return errPassword
		}
		err = checkpassword.Program{Command: command, Start: s.startCheck, Ended: s.endCheck}.Check(ctx, name, password)
		if err == nil && !may || errors.Is(err, mta.ErrCredentials) {
			return errPassword
		}
		return err
	}
}

// shadow returns the fields of a user's line of shadow(5), all of them empty where there is none, and the first hashes of the file.
func shadow(name string) (fields, hashes []string, err error) {
	f, err := os.Open(shadowFile)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fields = make([]string, shadowFields)
	found := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.Split(lines.Text(), ":")
		if len(line) < shadowFields {
			continue
		}
		if strings.HasPrefix(line[1], "$") && len(hashes) < maxHashes {
			hashes = append(hashes, line[1])
		}
		if line[0] == name && !found {
			fields, found = line, true
		}
	}
	return fields, hashes, lines.Err()
}

// days reads a field of shadow(5).
func days(field string) (int64, bool) {
	n, err := strconv.ParseInt(field, 10, 32)
	return n, err == nil && n >= 0
}

func today(now time.Time) int64 { return now.Unix() / (24 * 60 * 60) }

// over says whether the account has expired.
func over(fields []string, now time.Time) bool {
	end, ok := days(fields[7])
	return ok && today(now) >= end
}

// stale says whether the password is so old that nobody may log in with it.
func stale(fields []string, now time.Time) bool {
	changed, isChanged := days(fields[2])
	most, hasMost := days(fields[4])
	grace, hasGrace := days(fields[6])
	return isChanged && changed == 0 || isChanged && hasMost && hasGrace && today(now) > changed+most+grace
}
