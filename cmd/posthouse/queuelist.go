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
		form := pick(out, *asJSON, *mailq)
		err = c.List(cmd.Context(), filter, form.message)
		if err == nil {
			err = form.end()
		}
		return asked(errors.Join(err, out.Flush()))
	}
	return cmd
}

// form writes a list.
type form interface {
	message(m *control.Message) error
	end() error
}

func pick(w io.Writer, asJSON, mailq bool) form {
	switch {
	case asJSON:
		return jsonForm{json.NewEncoder(w)}
	case mailq:
		return &mailqForm{w: w}
	}
	return &tableForm{w: w}
}

type jsonForm struct{ e *json.Encoder }

func (f jsonForm) message(m *control.Message) error { return f.e.Encode(m) }
func (f jsonForm) end() error                       { return nil }

// tableForm is a line a message, and a second one that says why it waits.
type tableForm struct {
	w      io.Writer
	n      int
	octets int64
}

func (f *tableForm) message(m *control.Message) error {
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
	if list := waitingOf(m); len(list) > 0 {
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

func (f *tableForm) end() error {
	if f.n == 0 {
		_, err := fmt.Fprintln(f.w, "no such message in the queue")
		return err
	}
	_, err := fmt.Fprintf(f.w, "%s, %s octets\n", count(f.n, "message"), octets(f.octets))
	return err
}

// mailqForm is what programs expect that read the output of mailq, as Postfix writes it for long ids: * behind the id of
// a message that is being delivered, ! behind that of one that is held.
type mailqForm struct {
	w      io.Writer
	n      int
	octets int64
}

func (f *mailqForm) message(m *control.Message) error {
	if f.n == 0 {
		fmt.Fprintf(f.w, "%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------")
	}
	f.n++
	f.octets += m.Size
	id, from := string(m.ID), printable(m.Sender)
	switch m.Status {
	case control.StatusActive, control.StatusNew:
		id += "*"
	case control.StatusHeld:
		id += "!"
	}
	if from == "" {
		from = "MAILER-DAEMON"
	}
	fmt.Fprintf(f.w, "%-17s %8d %19.19s %s\n", id, m.Size, m.Arrived.Local().Format("Mon Jan _2 15:04:05"), from)
	why := ""
	for i, r := range waitingOf(m) {
		reason := r.Reply
		if r.Host != "" {
			reason = "host " + r.Host + " said: " + reason
		}
		if reason == "" {
			reason = m.Why
		}
		if reason != "" && (i == 0 || reason != why) {
			reason := printable(reason)
			fmt.Fprintf(f.w, "%*s(%s)\n", max(0, 76-len(reason)), "", reason)
		}
		why = reason
		fmt.Fprintf(f.w, "%-17s %8s %-19s %s\n", "", "", "", printable(r.Address))
	}
	_, err := fmt.Fprintln(f.w)
	return err
}

func (f *mailqForm) end() error {
	if f.n == 0 {
		_, err := fmt.Fprintln(f.w, "Mail queue is empty")
		return err
	}
	requests := "Requests"
	if f.n == 1 {
		requests = "Request"
	}
	_, err := fmt.Fprintf(f.w, "-- %d Kbytes in %d %s.\n", (f.octets+1023)/1024, f.n, requests)
	return err
}
