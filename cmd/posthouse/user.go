package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// Exit codes of the user commands: sysexits(3).
const (
	exitData      = 65 // a password, a message or a certificate cannot be taken
	exitNoUser    = 67
	exitCantMake  = 73 // the user is there already, or the domain is not ours
	exitIO        = 74
	exitTemporary = 75
	exitNoPerm    = 77
	exitConfig    = 78
)

// codedError is an error with the exit code that it asks for.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// ExitCode is the status that the program ends with.
func (e *codedError) ExitCode() int { return e.code }

// coded gives an error its exit code.
func coded(err error) error {
	var problems config.Errors
	var has *codedError
	code := exitIO
	switch {
	case err == nil || errors.As(err, &has):
		return err
	case errors.As(err, &problems):
		code = exitConfig
	case errors.Is(err, directory.ErrUnknown):
		code, err = exitNoUser, fmt.Errorf("%w; posthouse user list shows all", err)
	case errors.Is(err, directory.ErrExists):
		code, err = exitCantMake, fmt.Errorf("%w; posthouse user passwd gives another password", err)
	case errors.Is(err, directory.ErrNotListed):
		code, err = exitConfig, fmt.Errorf("no query says who all the users are; set list beside the others in [users.*]: %w", err)
	case errors.Is(err, directory.ErrBusy), errors.Is(err, directory.ErrAway):
		code = exitTemporary
	case errors.Is(err, fs.ErrPermission):
		code = exitNoPerm
	}
	return &codedError{code, err}
}

// users is what the user commands work on.
type users struct {
	cfg  *config.Config
	path string
}

// newUser is `posthouse user`: the users file; those of a database can be listed.
func newUser() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Add, change, remove and list virtual mailboxes", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("user: no command given") }}
	path := cmd.PersistentFlags().StringP("config", "c", config.DefaultPath, "read the configuration from `FILE`")
	run := func(do func(cmd *cobra.Command, u *users, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true // from here on it is not the command line that is wrong
			// Without a look at the files that it names: the users file may be what is about to be made.
			cfg, err := config.Read(*path)
			if err != nil {
				return coded(err)
			}
			return coded(do(cmd, &users{cfg, cfg.Users.File}, args))
		}
	}
	cmd.AddCommand(newUserAdd(run), newUserPasswd(run), newUserRemove(run), newUserList(run))
	return cmd
}

type userRun func(do func(cmd *cobra.Command, u *users, args []string) error) func(*cobra.Command, []string) error

func newUserAdd(run userRun) *cobra.Command {
	cmd := &cobra.Command{Use: "add ADDRESS", Short: "Add a mailbox", Args: cobra.ExactArgs(1)}
	store := addStoreFlags(cmd)
	noPassword := cmd.Flags().Bool("no-password", false, "add a user who takes mail and cannot log in")
	cmd.RunE = run(func(cmd *cobra.Command, u *users, args []string) error {
		a, err := u.newAddress(args[0])
		if err != nil {
			return &codedError{exitCantMake, err}
		}
		// Looked at before a password is asked for, and once more under the lock.
		if err := u.change(cmd.Context(), func(l *directory.Lines) error { return absent(l, a) }); err != nil {
			return err
		}
		var verifiers []string
		if !*noPassword {
			if verifiers, err = askVerifiers(cmd, store, a); err != nil {
				return err
			}
		}
		if err := u.change(cmd.Context(), func(l *directory.Lines) error { return l.Add(a, verifiers...) }); err != nil {
			return err
		}
		return u.report(cmd.OutOrStdout(), fmt.Sprintf("%s added to %s", a, u.path))
	})
	return cmd
}

func newUserPasswd(run userRun) *cobra.Command {
	cmd := &cobra.Command{Use: "passwd ADDRESS", Short: "Set a user's password", Args: cobra.ExactArgs(1)}
	store := addStoreFlags(cmd)
	cmd.RunE = run(func(cmd *cobra.Command, u *users, args []string) error {
		a, err := u.existing(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		v, err := askVerifiers(cmd, store, a)
		if err != nil {
			return err
		}
		if err := u.change(cmd.Context(), func(l *directory.Lines) error { return l.SetVerifiers(a, v...) }); err != nil {
			return err
		}
		return u.report(cmd.OutOrStdout(), fmt.Sprintf("password of %s changed in %s", a, u.path))
	})
	return cmd
}

func newUserRemove(run userRun) *cobra.Command {
	cmd := &cobra.Command{Use: "remove ADDRESS", Short: "Remove a user; the mailbox stays", Args: cobra.ExactArgs(1)}
	cmd.RunE = run(func(cmd *cobra.Command, u *users, args []string) error {
		a, err := u.existing(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := u.change(cmd.Context(), func(l *directory.Lines) error { return l.Remove(a) }); err != nil {
			return err
		}
		done := fmt.Sprintf("%s removed from %s", a, u.path)
		if mailbox, err := maildir.Path(u.cfg.Mailboxes.Path, a); err == nil {
			done += "; mail that is there stays in " + mailbox
		}
		return u.report(cmd.OutOrStdout(), done)
	})
	return cmd
}

func (u *users) change(ctx context.Context, do func(*directory.Lines) error) error {
	if err := inFile(u.cfg); err != nil {
		return err
	}
	return directory.Update(ctx, u.path, do)
}

// existing finds the user whom the operator means, as the file spells the address.
func (u *users) existing(ctx context.Context, s string) (mta.Address, error) {
	a, err := mta.ParseAddress(s)
	if err != nil {
		return a, &codedError{exitNoUser, fmt.Errorf("%q: %w", s, err)}
	}
	if d := u.domain(a.Domain); d != nil {
		a.Domain = d.Name
	}
	err = u.change(ctx, func(l *directory.Lines) error {
		found, err := l.Find(a)
		if err == nil {
			a = found.Address
		}
		return err
	})
	if err != nil {
		return a, fmt.Errorf("%s: %w", u.path, err)
	}
	return a, nil
}

func absent(l *directory.Lines, a mta.Address) error {
	switch found, err := l.Find(a); {
	case errors.Is(err, directory.ErrUnknown):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s: %w", found.Address, directory.ErrExists)
	}
}

// newAddress checks that mail for an address would come here and look into the users file.
func (u *users) newAddress(s string) (mta.Address, error) {
	a, err := mta.ParseAddress(s)
	if err != nil {
		return a, fmt.Errorf("%q: %w; it is as in alice@example.org", s, err)
	}
	d := u.domain(a.Domain)
	switch {
	case d == nil:
		return a, fmt.Errorf("%s: the configuration has no domain %s; posthouse setup %[2]s adds it", a, a.Domain)
	case d.AliasOf != "":
		return a, fmt.Errorf("%s: %s is an alias of %s; add %s@%s", a, d.Name, d.AliasOf, a.Local, d.AliasOf)
	case d.Mailboxes == "system":
		return a, fmt.Errorf("%s: the mailboxes of %s are the machine's accounts", a, d.Name)
	}
	if err := inUsersFile(a); err != nil {
		return a, err
	}
	a.Domain = d.Name
	_, err = maildir.Path(u.cfg.Mailboxes.Path, a)
	return a, err
}

// inUsersFile says whether the users file can hold an address.
func inUsersFile(a mta.Address) error {
	switch {
	case strings.ContainsFunc(a.Local, unicode.IsSpace):
		return fmt.Errorf("%s: a local part with a blank, which the users file cannot hold", a)
	case strings.HasPrefix(a.Local, "#"):
		return fmt.Errorf("%s: the users file takes a line that begins with # for a comment", a)
	}
	return nil
}

// domain finds a domain by its name in A-labels or in U-labels (RFC 5890).
func (u *users) domain(name string) *config.Domain {
	for _, d := range u.cfg.Domains {
		if d.Name == name || d.Unicode == name {
			return d
		}
	}
	return nil
}

// inFile refuses to write where the users file does not count.
func inFile(cfg *config.Config) error {
	if cfg.Users.InDatabase() {
		return &codedError{exitConfig, fmt.Errorf("users are kept in a database (users.driver = %q), and nothing here writes to it; change them there", cfg.Users.Driver)}
	}
	return nil
}

// report says what was done, unless a fault elsewhere in the file keeps the daemons from reading it.
func (u *users) report(out io.Writer, done string) error {
	if _, err := directory.List(u.path); err != nil {
		return &codedError{exitConfig, fmt.Errorf("%s, but the daemons keep the users they have until this is mended: %w", done, err)}
	}
	_, err := fmt.Fprintln(out, done)
	return err
}
