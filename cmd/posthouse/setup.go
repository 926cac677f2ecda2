package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// setup is one run of `posthouse setup`. What is there already is kept, and said to be; only a certificate that the
// operator names takes the place of another.
type setup struct {
	cmd       *cobra.Command
	path      string // of the configuration
	domain    string
	hostname  string
	user      string
	cert, key string // files to be copied; "": keep what is there, or make one that signs itself
	addresses []string
	mailboxes string // of the domain: virtual or system; "": what the configuration has, else virtual

	acme, selfSigned, noPassword, nonInteractive bool
	store                                        storeFlags

	installed bool // an installed system, with users for each daemon; else one user runs all
	cfg       *config.Config
	text      []byte    // of the configuration that is to be; nil: it stays
	done      string    // what writing it means
	added     bool      // it adds to one that daemons may have read already
	pair      [2][]byte // the certificate and key of the operator's files
	verifiers []string  // of the first user's password
}

// newSetup is `posthouse setup`: from an installed package to a mail server that can be started.
func newSetup() *cobra.Command {
	s := &setup{}
	cmd := &cobra.Command{
		Use:   "setup DOMAIN",
		Short: "Set up a mail server for a domain, and print what DNS is to have",
		Args:  cobra.ExactArgs(1),
	}
	fl := cmd.Flags()
	fl.StringVarP(&s.path, "config", "c", config.DefaultPath, "the configuration `FILE`")
	fl.StringVar(&s.hostname, "hostname", "", "this host's full `NAME` (default: the machine's, where it is in the domain, else mail.DOMAIN)")
	fl.StringVar(&s.user, "user", "", "the first user's `ADDRESS`, who is postmaster too")
	fl.StringVar(&s.mailboxes, "mailboxes", "", "`WHOSE`: virtual, users of the mail system alone, or system, the users of this machine (default virtual)")
	fl.BoolVar(&s.noPassword, "no-password", false, "the user takes mail and cannot log in")
	fl.StringVar(&s.cert, "certificate", "", "a `FILE` with a certificate chain, PEM, that is copied to where the daemons read it")
	fl.StringVar(&s.key, "key", "", "the `FILE` with its key, PEM")
	fl.BoolVar(&s.selfSigned, "self-signed", false, "make a certificate that has signed itself")
	fl.BoolVar(&s.acme, "acme", false, "obtain a certificate from Let's Encrypt, and renew it; posthouse.toml(5), [acme]")
	fl.StringSliceVar(&s.addresses, "address", nil, "this host's public `ADDRESS`, for the records (default: those of its interfaces)")
	fl.BoolVar(&s.nonInteractive, "non-interactive", false, "ask nothing; the password is a line of standard input")
	s.store = addStoreFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("certificate", "self-signed", "acme")
	cmd.MarkFlagsRequiredTogether("certificate", "key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.cmd, s.domain = cmd, args[0]
		return coded(s.run())
	}
	return cmd
}

// say tells the operator what was done. Standard output is for the records.
func (s *setup) say(format string, args ...any) {
	fmt.Fprintf(s.cmd.ErrOrStderr(), format+"\n", args...)
}

func (s *setup) run() error {
	fresh, err := s.readConfig()
	if err != nil {
		return err
	}
	if err := s.names(); err != nil {
		return err
	}
	if err := s.questions(fresh); err != nil {
		return err
	}
	if err := s.system(); err != nil {
		return err
	}
	if err := s.account(); err != nil {
		return err
	}
	// What is wrong with the answers is told before anything is written: the next run would take the rest for what is to be kept.
	if err := s.plan(fresh); err != nil {
		return err
	}
	if err := s.readCertificate(); err != nil {
		return err
	}
	if err := s.newPassword(); err != nil {
		return err
	}
	steps := []func() error{s.writeConfig, s.folders, s.certificate, s.dkim, s.srsSecret, s.firstUser}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	s.say("")
	if err := check(s.path, s.cmd.ErrOrStderr(), s.cmd.ErrOrStderr()); err != nil {
		return err
	}
	s.say("")
	if err := s.printZone(); err != nil {
		return err
	}
	s.next()
	return nil
}

// readConfig reads the configuration that is there; fresh says that there is none, or one that sets nothing.
func (s *setup) readConfig() (fresh bool, err error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && setsNothing(string(text)) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	s.cfg, err = config.Read(s.path)
	return false, err
}

func setsNothing(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "[") {
			return false
		}
	}
	return true
}

// names checks what was given on the command line, and fills in the host's name.
func (s *setup) names() error {
	bad := func(err error) error { return &codedError{exitUsage, err} }
	var err error
	if s.path, err = filepath.Abs(s.path); err != nil {
		return err
	}
	if s.domain, err = dns.ASCII(strings.TrimSuffix(s.domain, ".")); err != nil || !hostLike(s.domain) {
		return bad(fmt.Errorf("%q is no domain: as in example.org", s.cmd.Flags().Arg(0)))
	}
	switch {
	case s.cfg != nil && s.hostname != "" && s.hostname != s.cfg.Hostname:
		return bad(fmt.Errorf("--hostname %s: %s has the name %s; change it there", s.hostname, s.path, s.cfg.Hostname))
	case s.cfg != nil:
		s.hostname = s.cfg.Hostname
	case s.hostname == "":
		s.hostname = "mail." + s.domain
		if name, err := os.Hostname(); err == nil && strings.HasSuffix(name, "."+s.domain) {
			s.hostname = name
		}
	}
	if err := s.host(); err != nil {
		return bad(fmt.Errorf("--hostname: %w", err))
	}
	if s.user != "" {
		if _, err := s.address(); err != nil {
			return bad(fmt.Errorf("--user: %w", err))
		}
	}
	if err := s.whose(); err != nil {
		return bad(fmt.Errorf("--mailboxes: %w", err))
	}
	for _, a := range s.addresses {
		if _, err := netip.ParseAddr(a); err != nil {
			return bad(fmt.Errorf("--address %q is no address", a))
		}
	}
	return nil
}

// host checks the host's name.
func (s *setup) host() error {
	name, err := dns.ASCII(s.hostname)
	if err != nil || !hostLike(name) {
		return fmt.Errorf("%q is no full name of a host: as in mail.example.org", s.hostname)
	}
	s.hostname = name
	return nil
}

// hostLike says whether a name in A-labels can be that of a host or a mail domain (RFC 1123 2.1): more than one label, of
// letters, digits and inner hyphens, and the last one no number, as in an address.
func hostLike(name string) bool {
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if strings.Contains(l, "_") || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-") {
			return false
		}
	}
	return len(labels) > 1 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// system sees whether this is an installed system, and whether it can be set up at all.
func (s *setup) system() error {
	missing := layout.Missing()
	s.installed = len(missing) == 0
	switch {
	case s.path != config.DefaultPath:
		return nil
	case os.Geteuid() != 0:
		return &codedError{exitNoPerm, errors.New("setup makes files for several users")}
	}
	return usersThere()
}

func (s *setup) folders() error {
	if !s.installed || os.Geteuid() != 0 {
		return nil
	}
	var folders []layout.Entry
	for _, e := range layout.Of(s.cfg) {
		if !e.File {
			folders = append(folders, e)
		}
	}
	return makeFolders(s.cmd.ErrOrStderr(), folders, false)
}

// own gives a file with a secret to its group.
func (s *setup) own(path string) error {
	if !s.installed || os.Geteuid() != 0 {
		return nil
	}
	for _, e := range layout.Of(s.cfg) {
		if e.File && e.Path == path {
			return e.Mend()
		}
	}
	return nil
}

func (s *setup) printZone() error {
	var addrs []netip.Addr
	for _, a := range s.addresses {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if len(addrs) == 0 {
		addrs = publicAddresses()
	}
	z, err := newZone(s.cfg, s.domain, addrs)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.cmd.OutOrStdout(), z.String())
	return err
}

// next says what is left to do.
func (s *setup) next() {
	units, programs := "", "the three daemons; posthouse-queue-runner, posthouse-smtpd and posthouse-pop3d"
	if len(s.cfg.SystemDomains()) > 0 {
		units, programs = " posthouse-as-user.socket", "the three daemons, and as root posthouse-as-user; posthouse-queue-runner, posthouse-smtpd and posthouse-pop3d"
	}
	s.say("\nNext:\n  1. Publish these records. The provider of %s sets the name behind its address (PTR).", s.hostname)
	if !s.installed {
		s.say("  2. Start %s -c %s.", programs, s.path)
		return
	}
	s.say("  2. systemctl enable --now posthouse-queue-runner posthouse-smtpd.socket posthouse-smtpd posthouse-pop3d.socket posthouse-pop3d" + units)
	if s.added {
		s.say("     systemctl reload posthouse-queue-runner posthouse-smtpd posthouse-pop3d, where they ran before")
	}
	if s.cfg.ACME.Email == "" {
		s.say("  3. posthouse check --dns, when DNS has them")
		return
	}
	s.say("  3. When DNS has them: systemctl enable --now posthouse-cert.timer && systemctl start posthouse-cert && posthouse cert status")
	s.say("  4. posthouse check --dns")
}

// year is part of a new key's name.
func year() int { return time.Now().Year() }

// address reads the first user's address; a local part alone is one of the domain.
func (s *setup) address() (mta.Address, error) {
	text := s.user
	if !strings.Contains(text, "@") {
		text += "@" + s.domain
	}
	a, err := mta.ParseAddress(text)
	if err != nil {
		return a, fmt.Errorf("%q: %w; as in alice@%s", s.user, err, s.domain)
	}
	return a, nil
}
