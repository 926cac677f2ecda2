package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// Whose the mailboxes of a domain are.
const (
	virtual = "virtual" // users of the users file
	system  = "system"  // users of the machine
)

// newDomain says whether the domain is to be added to the configuration.
func (s *setup) newDomain() bool {
	if s.cfg == nil {
		return true
	}
	d := s.cfg.Domain(s.domain)
	return d == nil || d.Implicit
}

// whose checks --mailboxes, and takes it from the configuration where that has the domain.
func (s *setup) whose() error {
	switch {
	case s.mailboxes != "" && s.mailboxes != virtual && s.mailboxes != system:
		return fmt.Errorf("%q is neither %s nor %s", s.mailboxes, virtual, system)
	case !s.newDomain():
		has := s.cfg.Domain(s.domain).Mailboxes
		if s.mailboxes != "" && s.mailboxes != has {
			return fmt.Errorf("%s: %s has mailboxes = %q for %s; change it there", s.mailboxes, s.path, has, s.domain)
		}
		s.mailboxes = has
	}
	if s.mailboxes == system && s.noPassword {
		return errors.New("users of the machine have the passwords that it knows: there is no --no-password")
	}
	return nil
}

// isAccount says whether an address is that of a user of the machine.
func (s *setup) isAccount(a mta.Address) bool { return s.mailboxes == system && a.Domain == s.domain }

// account looks for the first user where that is to be one of the machine: setup makes no accounts.
func (s *setup) account() error {
	if s.user == "" {
		return nil
	}
	a, err := s.address()
	if err != nil || !s.isAccount(a) {
		return err
	}
	if err := s.accountThere(a); err != nil {
		return &codedError{exitUsage, fmt.Errorf("--user: %w", err)}
	}
	s.say("%s is the user %[2]s of this machine, with the password that %[2]s has here", a, a.Local)
	return nil
}

// accountThere says whether the machine knows a user.
func (s *setup) accountThere(a mta.Address) error {
	m := directory.Machine{Users: &directory.File{}, MinUID: 1000}
	if s.cfg != nil {
		m = directory.NewMachine(s.cfg, m.Users, nil)
	}
	m.Domains = map[string]bool{a.Domain: true}
	_, err := m.Lookup(context.Background(), a)
	if errors.Is(err, mta.ErrUnknownUser) {
		return fmt.Errorf("%s: no user of this machine has that name and a uid of %d or more; make one first: adduser %s", s.user, m.MinUID, a.Local)
	}
	return err
}
