package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// newMailbox is `posthouse mailbox`: the Maildirs of the users in the users file.
func newMailbox() *cobra.Command {
	cmd := &cobra.Command{Use: "mailbox", Short: "Show what virtual mailboxes hold", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("mailbox: no command given") }}
	path := cmd.PersistentFlags().StringP("config", "c", config.DefaultPath, "read the configuration from `FILE`")
	cmd.AddCommand(newMailboxList(path))
	return cmd
}

func newMailboxList(path *string) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List mailboxes with their messages and octets", Args: cobra.NoArgs}
	asJSON := cmd.Flags().Bool("json", false, "write a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		// Those that can be read are shown also where others cannot.
		all, failed := mailboxes(cfg)
		show := mailboxTable
		if *asJSON {
			show = mailboxJSON
		}
		return coded(errors.Join(show(cmd.OutOrStdout(), all), failed))
	}
	return cmd
}

// mailbox is a user's mailbox in the output of list.
type mailbox struct {
	Address  string `json:"address"`
	Messages int    `json:"messages"`
	Octets   int64  `json:"octets"`
	Path     string `json:"path"`
}

// mailboxes measures the mailboxes of all users; the error is of those that it leaves out.
func mailboxes(cfg *config.Config) ([]mailbox, error) {
	list := []mailbox{}
	users, err := directory.List(cfg.Users.File)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return list, err
	}
	var failed error
	for _, u := range users {
		a := u.Address
		if d := cfg.Domain(a.Domain); d != nil {
			a.Domain = d.Name
		}
		path, err := maildir.Path(cfg.Mailboxes.Path, a)
		var has maildir.Usage
		if err == nil {
			has, err = maildir.Measure(path)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("mailbox of %s: %w", u.Address, err))
			continue
		}
		list = append(list, mailbox{u.Address.String(), has.Messages, has.Octets, path})
	}
	return list, failed
}

func mailboxTable(out io.Writer, all []mailbox) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tMESSAGES\tOCTETS\tPATH")
	for _, b := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", b.Address, b.Messages, b.Octets, b.Path)
	}
	return w.Flush()
}

func mailboxJSON(out io.Writer, all []mailbox) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}
