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

	"github.com/posthouse-mail/posthouse/mta/directory"
)

// errPassword says no more than that: who exists is nobody's business.
var errPassword = errors.New("no such user, or not the password")

const shadowFile = "/etc/shadow"

// checkPassword says whether a password is that of a user who may log in. All refusals take the same work.
func (s *server) checkPassword(ctx context.Context, name, password string, least int) error {
	select {
	case s.checks <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.checks }()
	_, nobody := person(name, least)
	hash, err := shadow(name, time.Now())
	if err != nil {
		return err
	}
	if nobody != nil {
		hash = ""
	}
	ok, err := directory.MatchCrypt(hash, password)
	switch {
	case err != nil:
		return fmt.Errorf("%s: user %s: %w", shadowFile, name, err)
	case !ok:
		return errPassword
	}
	return nil
}

// shadow returns a user's line of shadow(5), as far as it lets anybody in: "" where there is none, the account or the
// password has expired, or the password is locked or empty.
func shadow(name string, now time.Time) (hash string, err error) {
	f, err := os.Open(shadowFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 8 || fields[0] != name {
			continue
		}
		hash = fields[1]
		if strings.HasPrefix(hash, "!") || strings.HasPrefix(hash, "*") || expired(fields, now) {
			return "", nil
		}
		return hash, nil
	}
	return "", lines.Err()
}

// expired says whether the account is over, or its password so old that nobody may log in with it. All numbers are days.
func expired(fields []string, now time.Time) bool {
	today := now.Unix() / (24 * 60 * 60)
	days := func(i int) (int64, bool) {
		n, err := strconv.ParseInt(fields[i], 10, 32)
		return n, err == nil && n >= 0
	}
	if end, ok := days(7); ok && today >= end {
		return true
	}
	changed, isChanged := days(2)
	most, hasMost := days(4)
	grace, hasGrace := days(6)
	return isChanged && changed == 0 || isChanged && hasMost && hasGrace && today > changed+most+grace
}
