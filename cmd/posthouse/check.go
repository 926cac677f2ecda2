package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// newCheck is `posthouse check`: all that keeps a daemon from starting, and what is probably not meant.
func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and the files that it names",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	published := cmd.Flags().Bool("dns", false, "also compare what DNS and others say of this host with what they should say")
	asJSON := cmd.Flags().Bool("json", false, "with --dns: its findings as JSON")
	probe := cmd.Flags().String("probe", "gmail.com", "with --dns: a `DOMAIN` whose mail server shows whether port 25 can be reached; empty: none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
		if *asJSON && !*published {
			return &codedError{exitUsage, errors.New("--json is for the findings of --dns")}
		}
		if *asJSON {
			out = errOut
		}
		if err := check(*path, out, errOut); err != nil || !*published {
			return err
		}
		return checkPublished(cmd.Context(), *path, *probe, *asJSON, cmd.OutOrStdout(), errOut)
	}
	return cmd
}

func check(path string, out, errOut io.Writer) error {
	cfg, err := config.Load(path)
	if err != nil {
		fmt.Fprintln(errOut, err)
		return &codedError{exitConfig, faults(err)}
	}
	c := checker{cfg: cfg, warnings: cfg.Warnings()}
	c.certificate()
	c.renewal(time.Now())
	c.users()
	c.asUser()
	c.aliases()
	c.srs()
	c.shared()
	c.named()
	c.layout(path)
	for _, w := range c.warnings {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
	if len(c.problems) > 0 {
		fmt.Fprintln(errOut, strings.Join(c.problems, "\n"))
		return &codedError{exitConfig, fmt.Errorf("%s: %s", path, count(len(c.problems), "fault"))}
	}
	_, err = fmt.Fprintf(out, "OK: %s: %s\n", path, c.summary())
	return err
}

func faults(err error) error {
	list, ok := err.(config.Errors)
	if !ok {
		return err
	}
	return fmt.Errorf("%s in the configuration", count(len(list), "fault"))
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// checker looks into the files that the configuration names.
type checker struct {
	cfg      *config.Config
	list     []directory.User
	read     bool // list holds what the users file says
	byName   map[string]directory.User
	stored   directory.Aliases
	db       directory.Users // nil: the users are in a file
	people   *directory.Machine
	problems []string
	warnings []string
}

func (c *checker) certificate() {
	t := c.cfg.TLS
	if t.Certificate == "" {
		return
	}
	s, err := tlsconf.Open(tlsconf.FromConfig(t), nil)
	if err != nil {
		c.problems = append(c.problems, err.Error())
		return
	}
	for _, sni := range t.SNI {
		for _, name := range sni.Names {
			host := strings.Replace(name, "*", "any", 1)
			if err := s.Certificate(host).VerifyHostname(host); err != nil {
				c.warnings = append(c.warnings, fmt.Sprintf("tls.sni: the certificate for %s is not made out to that name", name))
			}
		}
	}
}

// users reads the users file where a domain has its users there, or asks the database, which has aliases for all domains, and
// looks for the postmaster in it.
func (c *checker) users() {
	needed := c.cfg.Users.InDatabase()
	for _, d := range c.cfg.Domains {
		needed = needed || d.Mailboxes == "virtual" && !d.Implicit
	}
	if !needed {
		if c.read = len(c.cfg.SystemDomains()) > 0; c.read {
			c.postmaster()
		}
		return
	}
	list, err := new(userdb.Opener).All(context.Background(), c.cfg)
	switch {
	case c.cfg.Users.InDatabase():
		c.database(list, err)
		return
	case err != nil:
		c.problems = append(c.problems, err.Error())
		return
	}
	c.list, c.read = list, true
	c.postmaster()
	c.scram()
}

// aliases reads the aliases files of the domains, as smtpd and queue-runner do when they start.
func (c *checker) aliases() {
	o := route.FromConfig(c.cfg)
	o.Users = known{c}
	o.Aliases = c.stored
	r, err := route.New(o)
	if err != nil {
		c.problems = append(c.problems, strings.Split(err.Error(), "\n")...)
		return
	}
	if c.read {
		c.warnings = append(c.warnings, r.Check(context.Background())...)
	}
}

// known is the users file as it was read for the check.
type known struct{ *checker }

func (k known) Lookup(ctx context.Context, a mta.Address) (directory.User, error) {
	if k.db != nil {
		m := k.accounts()
		m.Users = k.db
		return m.Lookup(ctx, a)
	}
	if k.byName == nil {
		k.byName = map[string]directory.User{}
		for _, u := range k.list {
			domain := u.Address.Domain
			if d := k.cfg.Domain(domain); d != nil {
				domain = d.Name
			}
			k.byName[strings.ToLower(u.Address.Local)+"@"+domain] = u
		}
	}
	if d := k.cfg.Domain(a.Domain); d != nil && d.Mailboxes == "system" {
		return k.accounts().Lookup(ctx, a)
	}
	u, ok := k.byName[strings.ToLower(a.Local)+"@"+a.Domain]
	if !ok {
		return u, mta.ErrUnknownUser
	}
	return u, nil
}

// accounts are those of the machine.
func (c *checker) accounts() directory.Machine {
	if c.people == nil { // once, so that a name service that hangs is waited for once
		m := directory.NewMachine(c.cfg, &directory.File{}, nil)
		c.people = &m
	}
	return *c.people
}

// asUser warns where there is nobody to deliver as another user.
func (c *checker) asUser() {
	if len(c.cfg.SystemDomains()) == 0 && len(c.cfg.Programs) == 0 {
		return
	}
	socket := filepath.Join(c.cfg.Run, "as-user", asuser.SocketName)
	if _, err := os.Stat(socket); err != nil {
		c.warnings = append(c.warnings, fmt.Sprintf("mail for users of the machine, and for [programs], waits: %v; systemctl enable --now posthouse-as-user.socket", err))
	}
	for name, p := range c.cfg.Programs {
		if _, err := c.accounts().From.Lookup(context.Background(), p.User); err != nil {
			c.warnings = append(c.warnings, fmt.Sprintf("programs.%s.user: %s: %v", name, p.User, err))
		}
	}
}

// postmaster warns where double bounces have no reader. An aliases file or a catch_all may name one: then there is
// nothing to say here.
func (c *checker) postmaster() {
	a := c.cfg.PostmasterAddress()
	d := c.cfg.Domain(a.Domain)
	if d == nil || d.Aliases != "" || d.CatchAll != "" || d.Mailboxes == "relay" {
		return
	}
	if d.Mailboxes == "system" {
		if _, err := c.accounts().Lookup(context.Background(), a); err == nil {
			return
		}
	}
	for _, u := range c.list {
		if strings.EqualFold(u.Address.Local, a.Local) && c.cfg.Domain(u.Address.Domain) == d {
			return
		}
	}
	c.warnings = append(c.warnings, fmt.Sprintf("postmaster: nobody is %s: double bounces and mail for postmaster go to a mailbox postmaster@%s that nobody reads",
		a, c.cfg.Hostname))
}

// scram warns where some users can log in by SCRAM and some cannot, and where its salts would tell who exists.
func (c *checker) scram() {
	if c.cfg.Users.Driver == "checkpassword" {
		return // none is offered
	}
	with, without := 0, 0
	for _, u := range c.list {
		switch {
		case u.Disabled || len(u.Schemes) == 0:
		case slices.Contains(u.Schemes, directory.Scram):
			with++
		default:
			without++
		}
	}
	file, when := c.cfg.Users.File, c.cfg.Users.Scram
	if with > 0 && without > 0 && when == directory.ScramAuto {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: no login by SCRAM-SHA-256 is offered, for %d of %s have no verifier for it; posthouse user passwd makes one",
			file, without, count(with+without, "user")))
	}
	if without > 0 && when == directory.ScramAlways {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: %d of %s have no verifier for SCRAM-SHA-256, and their mail programs may fail to log in; posthouse user passwd makes one",
			file, without, count(with+without, "user")))
	}
	if with > 0 && when != directory.ScramNever && !directory.HasSaltKey(file) {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: there is no line \"* salt_key=\", so that an unknown login can be told from a known one after a restart; "+
			"posthouse user adds it with the next password", file))
	}
}

func (c *checker) summary() string {
	parts := []string{
		"host " + c.cfg.Hostname,
		count(len(c.cfg.Domains), "domain"),
		count(len(c.cfg.SMTPD.Listen)+len(c.cfg.POP3D.Listen), "listener"),
	}
	if c.read && (c.db == nil || c.list != nil) {
		parts = append(parts, count(len(c.list), "user"))
	}
	return strings.Join(parts, ", ")
}
