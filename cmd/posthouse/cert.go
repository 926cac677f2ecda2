package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/acme"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// certs is one run of `posthouse cert`.
type certs struct {
	path          string
	force, newKey bool

	cfg     *config.Config
	targets []acme.Target
}

// newCert is `posthouse cert`: certificates from an ACME authority. On an installed system two users do it: who speaks to the
// network cannot write what the daemons read, and who writes that does not speak to the network.
func newCert() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Obtain certificates by ACME, and renew them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("cert: no command given") },
	}
	add := func(use, short string, run func(*certs, context.Context) error, force bool) {
		c := &certs{}
		sub := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		sub.Flags().StringVarP(&c.path, "config", "c", config.DefaultPath, "the configuration `FILE`")
		if force {
			sub.Flags().BoolVar(&c.force, "force", false, "also what is not due")
			sub.Flags().BoolVar(&c.newKey, "new-key", false, "with a new key: its TLSA record is to be published first, or there is none")
		}
		sub.RunE = func(cmd *cobra.Command, _ []string) error {
			if err := c.read(); err != nil {
				return coded(err)
			}
			return certCoded(run(c, cmd.Context()))
		}
		cmd.AddCommand(sub)
	}
	add("renew", "Obtain what is missing or due, and put it in place", (*certs).renew, true)
	add("obtain", "The first half of renew, for the user posthouse-acme: speak to the authority", (*certs).obtain, true)
	add("install", "The second half of renew, for root: put in place what was obtained", (*certs).install, false)
	cmd.AddCommand(newCertStatus())
	return cmd
}

// read reads the configuration, without a look at the files that it names: they may be what is to come.
func (c *certs) read() (err error) {
	if c.cfg, err = config.Read(c.path); err != nil {
		return err
	}
	if c.cfg.ACME.Email == "" {
		return &codedError{exitConfig, fmt.Errorf("%s: acme.email is not set, so no certificates are obtained; set it to where the authority may write to, or run posthouse setup DOMAIN --acme", c.path)}
	}
	c.targets = acme.Targets(c.cfg)
	return nil
}

// certCoded gives an error its exit code: most pass by themselves, and the timer tries again.
func certCoded(err error) error {
	var has *codedError
	switch {
	case err == nil || errors.As(err, &has):
		return err
	case errors.Is(err, acme.ErrUnreachable):
		return &codedError{exitUnavailable, err}
	case errors.Is(err, acme.ErrBusy), errors.Is(err, acme.ErrRefused):
		return &codedError{exitTemporary, err}
	}
	return coded(err)
}

func (c *certs) state() string { return filepath.Join(c.cfg.State, "acme") }

// apart tells whether root is to leave the network to another user.
func (c *certs) apart() bool { return os.Geteuid() == 0 && !c.private() }

// private tells whether one user runs all: whose the state is says so. The units hide the spool, by which the daemons know it.
func (c *certs) private() bool {
	var st unix.Stat_t
	u, err := user.Lookup(layout.UserACME)
	if err != nil || unix.Stat(c.state(), &st) != nil {
		return daemon.Private(c.cfg)
	}
	return strconv.FormatUint(uint64(st.Uid), 10) != u.Uid
}

func (c *certs) renew(ctx context.Context) error {
	obtain := c.obtain
	if c.apart() {
		obtain = c.obtainAsOther
	}
	// What was obtained is put in place, whatever else failed.
	return errors.Join(obtain(ctx), c.installReady())
}

// obtainAsOther runs `posthouse cert obtain` as who may listen on port 80 and no more.
func (c *certs) obtainAsOther(ctx context.Context) error {
	u, err := user.Lookup(layout.UserACME)
	if err != nil {
		return &codedError{exitConfig, fmt.Errorf("%w; make it: systemd-sysusers, or as posthouse folders --sysusers lists it", err)}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"cert", "obtain", "--config", c.path}
	if c.force {
		args = append(args, "--force")
	}
	if c.newKey {
		args = append(args, "--new-key")
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE},
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &codedError{exit.ExitCode(), errors.New("not all certificates were obtained")} // it has said why
	}
	return err
}

func (c *certs) obtain(ctx context.Context) error {
	state := c.state()
	switch {
	case c.apart():
		return &codedError{exitNoPerm, errors.New("root does not speak to the network here; run posthouse cert renew, which does it as the user posthouse-acme")}
	case c.private():
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
	}
	if err := unix.Access(state, unix.W_OK); err != nil {
		what := "make it: posthouse folders"
		if errors.Is(err, fs.ErrPermission) {
			what = "run this as root"
		}
		return fmt.Errorf("%w; %s", &fs.PathError{Op: "write", Path: state, Err: err}, what)
	}
	return acme.Obtain(ctx, c.targets, acme.Options{
		Directory: acme.Directory(c.cfg.ACME), Email: c.cfg.ACME.Email, Listen: c.cfg.ACME.Listen, Hook: c.cfg.ACME.DNSHook,
		State: state, Output: c.cfg.ACME.Output, Agent: "posthouse/" + daemon.Version(),
		Force: c.force, NewKey: c.newKey, Log: daemon.CommandLog(c.cfg.Log), Now: time.Now,
	})
}

// install is for the unit: there a certificate that was never obtained is an error.
func (c *certs) install(context.Context) error { return c.put(false) }

// installReady leaves out what was never obtained: why it was not has been said.
func (c *certs) installReady() error { return c.put(true) }

func (c *certs) put(ready bool) error {
	place := acme.Place{Group: -1, Mode: 0o600}
	if !c.private() {
		g, err := user.LookupGroup(layout.GroupTLS)
		if err != nil {
			return err
		}
		if place.Group, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
		place.Mode = 0o640
	}
	log := daemon.CommandLog(c.cfg.Log)
	var all error
	for _, t := range c.targets {
		leaf, changed, err := acme.Install(t, c.state(), c.cfg.ACME.Output, place, time.Now())
		switch {
		case ready && errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrNotExist):
			all = errors.Join(all, fmt.Errorf("certificate for %s: none was obtained yet; posthouse cert status says why", t.Names[0]))
		case err != nil:
			err = fmt.Errorf("certificate for %s: %w", t.Names[0], err)
			log.CertificateFailed(t.Names[0], err)
			all = errors.Join(all, err)
		case changed:
			log.CertificateInstalled(t.Certificate, leaf.NotAfter)
		}
	}
	return all
}
