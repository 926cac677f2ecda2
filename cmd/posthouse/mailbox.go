package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// newMailbox is `posthouse mailbox`: the Maildirs of the users in the users file.
func newMailbox() *cobra.Command {
	cmd := &cobra.Command{Use: "mailbox", Short: "Show and mend what virtual mailboxes hold", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("mailbox: no command given") }}
	path := cmd.PersistentFlags().StringP("config", "c", config.DefaultPath, "read the configuration from `FILE`")
	run := func(do func(cmd *cobra.Command, cfg *config.Config, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true // from here on it is not the command line that is wrong
			cfg, err := config.Read(*path)
			if err == nil {
				err = do(cmd, cfg, args)
			}
			return coded(err)
		}
	}
	cmd.AddCommand(newMailboxList(run), newMailboxQuota(run), newMailboxRepair(run), newMailboxDeliver(run))
	return cmd
}

type mailboxRun func(do func(cmd *cobra.Command, cfg *config.Config, args []string) error) func(*cobra.Command, []string) error

// box is a user's mailbox.
type box struct {
	User  mta.Address
	Path  string
	Quota int64 // octets; 0 = none
}

// boxes returns the mailboxes of all users, or of those that are named; the error is of those that are left out.
func boxes(ctx context.Context, cfg *config.Config, named []string) ([]box, error) {
	if len(named) > 0 && cfg.Users.InDatabase() {
		users, err := lookUp(ctx, cfg, named)
		if err != nil {
			return nil, err
		}
		return boxesOf(cfg, users)
	}
	users, err := new(userdb.Opener).All(ctx, cfg)
	if errors.Is(err, fs.ErrNotExist) {
		users, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(named) > 0 {
		if users, err = usersNamed(cfg, users, named); err != nil {
			return nil, err
		}
	}
	return boxesOf(cfg, users)
}

func boxesOf(cfg *config.Config, users []directory.User) (all []box, failed error) {
	for _, u := range users {
		var err error
		a := canonical(cfg, u.Address)
		b := box{User: u.Address, Quota: u.Quota}
		if b.Quota < 0 {
			b.Quota = int64(cfg.Mailboxes.Quota)
		}
		if b.Path, err = maildir.Path(cfg.Mailboxes.Path, a); err != nil {
			failed = errors.Join(failed, fmt.Errorf("mailbox of %s: %w", u.Address, err))
			continue
		}
		all = append(all, b)
	}
	return all, failed
}

// lookUp finds users of a database by their addresses.
func lookUp(ctx context.Context, cfg *config.Config, named []string) (found []directory.User, err error) {
	db, err := new(userdb.Opener).Open(cfg, directory.Options{DropVerifiers: true})
	if err != nil {
		return nil, err
	}
	for _, s := range named {
		a, err := mta.ParseAddress(s)
		if err != nil {
			return nil, &codedError{exitNoUser, fmt.Errorf("%q: %w; give a user's whole address", s, err)}
		}
		switch u, err := db.Lookup(ctx, canonical(cfg, a)); {
		case errors.Is(err, directory.ErrUnknown):
			return nil, &codedError{exitNoUser, fmt.Errorf("%s: the database has no such user", a)}
		case err != nil:
			return nil, &codedError{exitTemporary, err}
		default:
			found = append(found, u)
		}
	}
	return found, nil
}

// usersNamed finds users by their addresses.
func usersNamed(cfg *config.Config, users []directory.User, named []string) ([]directory.User, error) {
	var picked []directory.User
	for _, s := range named {
		a, err := mta.ParseAddress(s)
		if err != nil {
			return nil, &codedError{exitNoUser, fmt.Errorf("%q: %w; give a user's whole address", s, err)}
		}
		a = canonical(cfg, a)
		found := false
		for _, u := range users {
			if directory.Same(canonical(cfg, u.Address), a) {
				picked, found = append(picked, u), true
				break
			}
		}
		if !found {
			return nil, &codedError{exitNoUser, fmt.Errorf("%s: no such user in %s; posthouse user list shows all", a, cfg.Users.File)}
		}
	}
	return picked, nil
}

// canonical gives an address the domain whose users it is among, as the paths of mailboxes have it.
func canonical(cfg *config.Config, a mta.Address) mta.Address {
	if d := (&users{cfg: cfg}).domain(a.Domain); d != nil {
		a.Domain = d.Name
		if d.AliasOf != "" {
			a.Domain = d.AliasOf
		}
	}
	return a
}

func (b box) counter() maildir.Counter {
	return maildir.Counter{FS: durable.OS{}, Path: b.Path, Limit: b.Quota, Now: time.Now}
}

func newMailboxList(run mailboxRun) *cobra.Command {
	cmd := &cobra.Command{Use: "list [ADDRESS...]", Short: "List mailboxes with their messages, octets and quota"}
	asJSON := cmd.Flags().Bool("json", false, "write a JSON array")
	cmd.RunE = run(func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		// Those that can be read are shown also where others cannot.
		all, failed := boxes(cmd.Context(), cfg, args)
		if failed != nil && all == nil {
			return failed
		}
		list := []listedBox{}
		for _, b := range all {
			has, err := maildir.Measure(durable.OS{}, b.Path)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("mailbox of %s: %w", b.User, err))
				continue
			}
			list = append(list, listedBox{b.User.String(), has.All.Messages, has.All.Octets, has.Counted.Octets, b.Quota, has.Last, b.Path})
		}
		show := mailboxTable
		if *asJSON {
			show = mailboxJSON
		}
		return errors.Join(show(cmd.OutOrStdout(), list), failed)
	})
	return cmd
}

// listedBox is a mailbox in the output of list.
type listedBox struct {
	Address  string    `json:"address"`
	Messages int64     `json:"messages"`
	Octets   int64     `json:"octets"`
	Counted  int64     `json:"counted"` // octets that count for the quota
	Quota    int64     `json:"quota"`   // octets; 0 = none
	Last     time.Time `json:"last,omitzero"`
	Path     string    `json:"path"`
}

func mailboxTable(out io.Writer, all []listedBox) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tMESSAGES\tOCTETS\tQUOTA\tFULL\tLAST\tPATH")
	for _, b := range all {
		quota, full, last := "-", "-", "-"
		if b.Quota > 0 {
			quota, full = config.Size(b.Quota).String(), percent(b.Counted, b.Quota)
		}
		if !b.Last.IsZero() {
			last = b.Last.Local().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", b.Address, b.Messages, b.Octets, quota, full, last, b.Path)
	}
	return w.Flush()
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.0f%%", float64(part)*100/float64(whole))
}

func mailboxJSON(out io.Writer, all []listedBox) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}
