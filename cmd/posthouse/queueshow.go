package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/control"
)

func newQueueShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a message: envelope, each attempt, why it waits, and when it is tried next",
		Args:  cobra.ExactArgs(1),
	}
	a := newAsker(cmd)
	asJSON := cmd.Flags().Bool("json", false, "write a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, c, err := a.about(args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.Show(cmd.Context(), id)
		if err != nil {
			return askedFor(id, err)
		}
		if *asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return asked(e.Encode(d))
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		show(out, d)
		return asked(out.Flush())
	}
	return cmd
}

const stamp = "2006-01-02 15:04:05"

func show(w io.Writer, d *control.Detail) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-9s %s\n", name, printable(text))
		}
	}
	line("id", string(d.ID))
	line("status", d.Status)
	line("why", d.Why)
	if !d.Next.IsZero() {
		line("next", d.Next.Local().Format(stamp)+" (in "+span(time.Until(d.Next))+")")
	}
	line("site", d.Site)
	line("error", d.Error)
	line("from", sender(d.Sender))
	line("arrived", d.Arrived.Local().Format(stamp)+" ("+span(time.Since(d.Arrived))+" ago), "+d.Role)
	line("login", d.Login)
	line("client", d.Client)
	line("size", fmt.Sprint(d.Size))
	line("envelope", string(d.Envelope))
	for _, r := range d.Rcpts {
		text := r.Address + ": " + r.State
		if r.Tries > 0 {
			text += ", " + count(r.Tries, "attempt")
		}
		if r.State == "waiting" && !r.Next.IsZero() {
			text += ", next " + r.Next.Local().Format(stamp)
		}
		line("to", text)
	}
	for _, x := range d.Attempts {
		at := x.At.Local().Format(stamp)
		if x.At.IsZero() {
			at = "unknown"
		}
		text := fmt.Sprintf("%s %s: %s", at, x.Address, x.State)
		if x.Host != "" {
			text += " by " + x.Host
		}
		for _, more := range []string{x.Addr, x.TLS} {
			if more != "" {
				text += " [" + more + "]"
			}
		}
		if x.Reply != "" {
			text += ": " + x.Reply
		}
		line("attempt", text)
	}
}

func newQueueCat() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cat ID",
		Short: "Write a message as its recipients get it",
		Args:  cobra.ExactArgs(1),
	}
	a := newAsker(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, c, err := a.about(args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		out := bufio.NewWriter(cmd.OutOrStdout())
		return askedFor(id, errors.Join(c.Content(cmd.Context(), id, out), out.Flush()))
	}
	return cmd
}
