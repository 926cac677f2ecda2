package main

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/control"
)

// site is what the program knows of the mail system and of who calls it.
type site struct {
	cfg     *config.Config // nil: it cannot be read, and what comes with the program holds
	fault   error          // why
	socket  string         // smtpd's
	control string         // queue-runner's
	origin  string         // completes addresses
	limit   int64          // octets of a message
	line    int            // octets of a line of it
	login   string         // the caller's, as smtpd names it
	full    string         // the caller's name in the user database
}

// Bounds of a message, and of a line of it, where the configuration cannot be read; smtpd has the last word.
const (
	defaultLimit = 1 << 30
	defaultLine  = 64 << 10
)

// findSite reads the configuration. One that was not asked for need not be good, or readable for everybody: mail must get
// on its way while an operator edits the file, and smtpd keeps the last good one, too.
func findSite(path string, uid int) (site, error) {
	s := site{
		socket: "/run/posthouse/smtpd/submit.sock", control: filepath.Join("/run/posthouse/queue", control.SocketName),
		limit: defaultLimit, line: defaultLine, login: strconv.Itoa(uid),
	}
	if u, err := user.LookupId(s.login); err == nil {
		s.login = u.Username
		name, _, _ := strings.Cut(u.Name, ",")
		s.full = strings.ReplaceAll(name, "&", u.Username)
	}
	wanted := path != ""
	if !wanted {
		path = config.DefaultPath
	}
	cfg, err := config.Read(path)
	switch {
	case err == nil:
		s.use(cfg)
	case wanted:
		return s, &exitError{exitConfig, err}
	default:
		s.fault = err
	}
	if s.origin == "" {
		s.origin = machine()
	}
	if s.cfg != nil && s.login == strconv.Itoa(uid) && s.cfg.Mailboxes.SystemAccounts == "nss" {
		if a, err := accounts.New(true).LookupUID(context.Background(), uint32(uid)); err == nil {
			s.login = a.Name
		}
	}
	return s, nil
}

func (s *site) use(cfg *config.Config) {
	s.cfg, s.origin = cfg, cfg.Origin
	s.socket = filepath.Join(cfg.Run, "smtpd/submit.sock")
	s.control = filepath.Join(cfg.Run, "queue", control.SocketName)
	s.limit, s.line = int64(cfg.SMTPD.MaxMessageSize), int(cfg.SMTPD.MaxLine)
	for _, l := range cfg.SMTPD.Listen {
		if l.Role == mta.RoleLocal {
			s.socket, s.limit = strings.TrimPrefix(l.Address, "unix:"), int64(l.MaxMessageSize)
			break
		}
	}
}

// machine is the name that completes addresses where the configuration cannot be read.
func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if name, err = mta.ParseDomain(name); err != nil {
		return "localhost"
	}
	return name
}

// self is the caller's own address.
func (s *site) self() mta.Address { return mta.Address{Local: s.login, Domain: s.origin} }

// complete gives an address without a domain, or in one that every machine calls itself, the domain of this one.
func (s *site) complete(a string) string {
	local, domain, has := cutDomain(a)
	if has && !strings.EqualFold(domain, "localhost") && !strings.EqualFold(domain, "localhost.localdomain") {
		return a
	}
	return local + "@" + s.origin
}

// cutDomain cuts an address at its last @; one inside quotes is part of the name.
func cutDomain(a string) (local, domain string, has bool) {
	i := strings.LastIndexByte(a, '@')
	if i < 0 || strings.IndexByte(a[i:], '"') >= 0 {
		return a, "", false
	}
	return a[:i], a[i+1:], true
}
