package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"
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
		if err := s.ask(in, "Full name of this host", &s.hostname); err != nil {
			return err
		}
		if err := s.host(); err != nil {
			return err
		}
	}
	if s.mailboxes == "" && s.newDomain() {
		s.mailboxes = virtual
		if err := s.ask(in, "Mailboxes of "+s.domain+": virtual (users of the mail system alone), or system (the users of this machine)", &s.mailboxes); err != nil {
			return err
		}
		if err := s.whose(); err != nil {
			return &codedError{exitUsage, err}
		}
	}
	if s.user == "" && (fresh || s.noUsers()) {
		s.user = "postmaster@" + s.domain
		if s.mailboxes == system {
			s.user = os.Getenv("SUDO_USER")
		}
		if err := s.ask(in, "First user, who is postmaster too", &s.user); err != nil {
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

// noUsers says whether the configuration wants users and nobody has made the first, as after a run that was cut short.
func (s *setup) noUsers() bool {
	if s.mailboxes == system || !s.cfg.UsersNeeded() || s.cfg.Users.InDatabase() {
		return false
	}
	_, err := os.Stat(s.cfg.Users.File)
	return errors.Is(err, fs.ErrNotExist)
}

// askCertificate asks where the certificate comes from.
func (s *setup) askCertificate(in *bufio.Reader) error {
	from := "acme"
	if err := s.ask(in, "Certificate for "+s.hostname+": acme (from Let's Encrypt, whose terms you agree to), self-signed, or a file", &from); err != nil {
		return err
	}
	switch from {
	case "acme":
		s.acme = true
		return nil
	case "self-signed":
		s.selfSigned = true
		return nil
	}
	s.cert = from
	return s.ask(in, "File with its key", &s.key)
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

// ask shows a question with the answer that an empty line gives.
func (s *setup) ask(in *bufio.Reader, question string, value *string) error {
	if *value != "" {
		question += " [" + *value + "]"
	}
	if _, err := fmt.Fprint(s.cmd.ErrOrStderr(), question+": "); err != nil {
		return err
	}
	line, err := in.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return &codedError{exitUsage, errors.New("no answer; nothing was changed")}
	}
	if line = strings.TrimSpace(line); line != "" {
		*value = line
	}
	return nil
}
