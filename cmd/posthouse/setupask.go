package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// questions asks for what neither the command line nor the configuration tells. Nothing has been changed yet.
func (s *setup) questions(fresh bool) error {
	f, ok := s.cmd.InOrStdin().(*os.File)
	ask := !s.nonInteractive && ok && term.IsTerminal(int(f.Fd()))
	if !ask {
		return s.complete(fresh)
	}
	in := bufio.NewReader(f)
	if fresh {
		if err := s.ask(in, "Full name of this host", &s.hostname, s.host); err != nil {
			return err
		}
	}
	if s.mailboxes == "" && s.newDomain() {
		s.mailboxes = virtual
		if err := s.ask(in, "Mailboxes of "+s.domain+": virtual (users of the mail system alone), or system (the users of this machine)", &s.mailboxes, s.whose); err != nil {
			return err
		}
	}
	if s.user == "" && (fresh || s.noUsers()) {
		s.user = s.firstGuess()
		if err := s.ask(in, "First user, who is postmaster too", &s.user, s.userFits); err != nil {
			return err
		}
	}
	if fresh && s.cert == "" && !s.selfSigned && !s.acme {
		if err := s.askCertificate(in); err != nil {
			return err
		}
	}
	return s.complete(fresh)
}

// firstGuess is the first user where nobody says another.
func (s *setup) firstGuess() string {
	if s.mailboxes == system {
		return os.Getenv("SUDO_USER")
	}
	if s.cfg != nil { // after a run that was cut short
		a := s.cfg.PostmasterAddress()
		if d := s.cfg.Domain(a.Domain); d != nil && !d.Implicit {
			return a.String()
		}
	}
	return "postmaster@" + s.domain
}

// userFits checks the first user as far as that can be done before there is a configuration.
func (s *setup) userFits() error {
	if s.user == "" {
		return errors.New("who is the first user?")
	}
	a, err := s.address()
	if err != nil {
		return err
	}
	if s.isAccount(a) {
		return s.accountThere(a)
	}
	if a.Domain != s.domain && (s.cfg == nil || s.cfg.Domain(a.Domain) == nil) {
		return fmt.Errorf("%s: it is a user of %s that is asked for", a, s.domain)
	}
	return inUsersFile(a)
}

// noUsers says whether the configuration wants users and nobody has made the first, as after a run that was cut short.
func (s *setup) noUsers() bool {
	needed := s.cfg.UsersNeeded() || s.newDomain() && s.mailboxes != system
	if s.mailboxes == system || !needed || s.cfg.Users.InDatabase() {
		return false
	}
	_, err := os.Stat(s.cfg.Users.File)
	return errors.Is(err, fs.ErrNotExist)
}

// askCertificate asks where the certificate comes from.
func (s *setup) askCertificate(in *bufio.Reader) error {
	from := "acme"
	err := s.ask(in, "Certificate for "+s.hostname+": acme (from Let's Encrypt, whose terms you agree to), self-signed, or a file", &from, func() error {
		s.acme, s.selfSigned = from == "acme", from == "self-signed"
		if s.acme || s.selfSigned {
			return nil
		}
		if _, _, err := conffile.Read(from, tlsconf.MaxPEM); err != nil {
			return fmt.Errorf("%w; allowed: acme, self-signed, or a file with the chain, PEM", err)
		}
		return nil
	})
	if err != nil || s.acme || s.selfSigned {
		return err
	}
	var key string
	err = s.ask(in, "File with its key", &key, func() error {
		if key == "" {
			return errors.New("in which file is it?")
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Where the two do not fit either may be the wrong one.
	s.cert, s.key = from, key
	if err := s.readCertificate(); err != nil {
		s.cert, s.key = "", ""
		s.say("%v", err)
		return s.askCertificate(in)
	}
	return nil
}

// complete finds out whether all is there.
func (s *setup) complete(fresh bool) error {
	switch {
	case fresh && s.user == "":
		return &codedError{exitUsage, errors.New("--user: who is the first user?")}
	case !fresh && s.user == "" && s.noUsers():
		return &codedError{exitUsage, fmt.Errorf("--user: there is no %s yet: who is the first user?", s.cfg.Users.File)}
	case fresh && s.cert == "" && !s.selfSigned && !s.acme:
		return &codedError{exitUsage, errors.New("--acme, --certificate and --key, or --self-signed: which certificate?")}
	case (s.cert == "") != (s.key == ""):
		return &codedError{exitUsage, errors.New("--certificate and --key belong together")}
	}
	return nil
}

// errNoAnswer says that the terminal has ended, by Ctrl-D for instance.
var errNoAnswer = &codedError{exitUsage, errors.New("no answer; nothing was changed")}

// ask shows a question with the answer that an empty line gives, again until the answer is a good one.
func (s *setup) ask(in *bufio.Reader, question string, value *string, good func() error) error {
	usual := *value
	if usual != "" {
		question += " [" + usual + "]"
	}
	for {
		if _, err := fmt.Fprint(s.cmd.ErrOrStderr(), question+": "); err != nil {
			return err
		}
		line, err := in.ReadString('\n')
		if err != nil {
			s.say("") // the prompt's line
			return errNoAnswer
		}
		*value = usual
		if line = strings.TrimSpace(line); line != "" {
			*value = line
		}
		if err = good(); err == nil {
			return nil
		}
		s.say("%v", err)
	}
}
