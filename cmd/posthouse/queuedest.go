package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/control"
)

func newQueueDest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dest [DOMAIN]",
		Short: "Show how the destinations stand: window, connections, what waits, and why",
		Args:  cobra.MaximumNArgs(1),
	}
	a := newAsker(cmd)
	asJSON := cmd.Flags().Bool("json", false, "write a JSON array of objects")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Destinations(cmd.Context())
		if err != nil {
			return asked(err)
		}
		if len(args) > 0 {
			list = slices.DeleteFunc(list, func(d control.Destination) bool { return !leads(&d, args[0]) })
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		if *asJSON {
			err = json.NewEncoder(out).Encode(append([]control.Destination{}, list...)) // never null
		} else {
			destTable(out, list)
		}
		if err == nil {
			err = out.Flush()
		}
		if err == nil && len(list) == 0 {
			err = &codedError{exitNoInput, fmt.Errorf("%s: no mail goes there now, nor did within the last minutes", args[0])}
		}
		return asked(err)
	}
	return cmd
}

// leads says that mail for a domain goes to a destination, or that this is its name or one of its hosts.
func leads(d *control.Destination, name string) bool {
	hosts := strings.FieldsFunc(d.Name, func(r rune) bool { return strings.ContainsRune(",| ", r) })
	return slices.ContainsFunc(slices.Concat([]string{d.Name}, d.Domains, hosts), func(s string) bool { return strings.EqualFold(s, name) })
}

// destTable is a line a destination: those in trouble first, then those with the most to do.
func destTable(w io.Writer, list []control.Destination) {
	if len(list) == 0 {
		return
	}
	well := func(d control.Destination) int {
		if d.Reason == "" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b control.Destination) int {
		if x := well(a) - well(b); x != 0 {
			return x
		}
		return b.Connections + b.Queued + b.Waiting - a.Connections - a.Queued - a.Waiting
	})
	fmt.Fprintf(w, "%-8s %6s %5s %6s %7s %5s %5s %s\n", "STATE", "WINDOW", "CONNS", "QUEUED", "WAITING", "NEXT", "LAST", "DESTINATION")
	now := time.Now()
	for _, d := range list {
		next, last := "-", "-"
		if !d.Until.IsZero() {
			next = span(d.Until.Sub(now))
		}
		if !d.Success.IsZero() {
			last = span(now.Sub(d.Success))
		}
		fmt.Fprintf(w, "%-8s %6d %5d %6d %7d %5s %5s %s\n", d.State, d.Window, d.Connections, d.Queued, d.Waiting, next, last, printable(d.Name))
		if d.Reason != "" {
			fmt.Fprintf(w, "         %s\n", printable(d.Reason))
		}
		if names := slices.DeleteFunc(slices.Clone(d.Domains), func(s string) bool { return s == d.Name }); len(names) > 0 {
			fmt.Fprintf(w, "         for %s\n", printable(several(names)))
		}
	}
}

// several is a list of names that stays readable.
func several(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
