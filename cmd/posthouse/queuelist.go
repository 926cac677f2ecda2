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

func newQueueList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the messages in the queue, the oldest first",
		Args:  cobra.NoArgs,
	}
	a, f := newAsker(cmd), addFilter(cmd)
	asJSON := cmd.Flags().Bool("json", false, "write a JSON object for each message, one on a line")
	mailq := cmd.Flags().Bool("mailq", false, "write the traditional form of mailq")
	cmd.MarkFlagsMutuallyExclusive("json", "mailq")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := f.filter()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		out := bufio.NewWriter(cmd.OutOrStdout())
		form := pick(out, *asJSON, *mailq, filter)
		err = c.List(cmd.Context(), filter, form.Message)
		if err == nil {
			err = form.End()
		}
		return asked(errors.Join(err, out.Flush()))
	}
	return cmd
}

// form writes a list.
type form interface {
	Message(m *control.Message) error
	End() error
}

func pick(w io.Writer, asJSON, mailq bool, filter control.Filter) form {
	switch {
	case asJSON:
		return jsonForm{json.NewEncoder(w)}
	case mailq:
		return control.NewMailq(w)
	}
	return &tableForm{w: w, none: nothing(filter)}
}

type jsonForm struct{ e *json.Encoder }

func (f jsonForm) Message(m *control.Message) error { return f.e.Encode(m) }
func (f jsonForm) End() error                       { return nil }

// tableForm is a line a message, and a second one that says why it waits.
type tableForm struct {
	w      io.Writer
	none   string // what to say of an empty list
	n      int
	octets int64
}

func (f *tableForm) Message(m *control.Message) error {
	if f.n == 0 {
		fmt.Fprintf(f.w, "%-16s %7s %5s %-8s %5s %s\n", "ID", "SIZE", "AGE", "STATUS", "NEXT", "FROM -> TO")
	}
	f.n++
	f.octets += m.Size
	now := time.Now()
	next := "-"
	if !m.Next.IsZero() {
		next = span(m.Next.Sub(now))
	}
	to := "-"
	if list := m.Waiting(); len(list) > 0 {
		to = printable(list[0].Address)
		if len(list) > 1 {
			to += fmt.Sprintf(" and %d more", len(list)-1)
		}
	}
	_, err := fmt.Fprintf(f.w, "%-16s %7s %5s %-8s %5s %s -> %s\n", m.ID, octets(m.Size), span(now.Sub(m.Arrived)), m.Status, next, sender(m.Sender), to)
	if why := m.Why + m.Error; why != "" && err == nil {
		_, err = fmt.Fprintf(f.w, "                 %s\n", printable(why))
	}
	return err
}

func (f *tableForm) End() error {
	if f.n == 0 {
		_, err := fmt.Fprintln(f.w, f.none)
		return err
	}
	_, err := fmt.Fprintf(f.w, "%s, %s octets\n", count(f.n, "message"), octets(f.octets))
	return err
}
