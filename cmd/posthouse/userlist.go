package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

func newUserList(run userRun) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the users", Args: cobra.NoArgs}
	asJSON := cmd.Flags().Bool("json", false, "write a JSON array")
	cmd.RunE = run(func(cmd *cobra.Command, u *users, _ []string) error {
		all, err := new(userdb.Opener).All(cmd.Context(), u.cfg)
		if errors.Is(err, fs.ErrNotExist) {
			all, err = nil, nil
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return listJSON(cmd.OutOrStdout(), all)
		}
		return listTable(cmd.OutOrStdout(), all)
	})
	return cmd
}

func listTable(out io.Writer, all []directory.User) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tPASSWORD\tLOGIN\tFORWARD")
	for _, u := range all {
		schemes, login, forward := strings.ToLower(strings.Join(u.Schemes, ",")), "yes", addresses(u.Forward)
		if u.Disabled || schemes == "" {
			login = "no"
		}
		if schemes == "" {
			schemes = "-"
		}
		if len(forward) == 0 {
			forward = []string{"-"}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Address, schemes, login, strings.Join(forward, ","))
	}
	return w.Flush()
}

// listed is a user in the output of list --json.
type listed struct {
	Address  string   `json:"address"`
	Schemes  []string `json:"schemes"`
	Disabled bool     `json:"disabled"`
	Forward  []string `json:"forward"`
	SendAs   []string `json:"send_as"`
}

func listJSON(out io.Writer, all []directory.User) error {
	list := make([]listed, 0, len(all))
	for _, u := range all {
		list = append(list, listed{u.Address.String(), append([]string{}, u.Schemes...), u.Disabled, addresses(u.Forward),
			append([]string{}, u.SendAs...)})
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

func addresses(all []mta.Address) []string {
	list := make([]string, 0, len(all))
	for _, a := range all {
		list = append(list, a.String())
	}
	return list
}
