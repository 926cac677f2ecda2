package control

import (
	"fmt"
	"io"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// Mailq writes messages as mailq(1) of Postfix does for long ids, for programs that read that: * stands behind the id of a message that
// is being delivered, ! behind that of one that is held.
type Mailq struct {
	w      io.Writer
	n      int
	octets int64
}

// NewMailq returns a Mailq that writes to w.
func NewMailq(w io.Writer) *Mailq { return &Mailq{w: w} }

// Message writes one message.
func (f *Mailq) Message(m *Message) error {
	if f.n == 0 {
		fmt.Fprintf(f.w, "%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------")
	}
	f.n++
	f.octets += m.Size
	id, from := string(m.ID), smtp.Printable(m.Sender, true)
	switch m.Status {
	case StatusActive, StatusNew:
		id += "*"
	case StatusHeld:
		id += "!"
	}
	if from == "" {
		from = "MAILER-DAEMON"
	}
	fmt.Fprintf(f.w, "%-17s %8d %19.19s %s\n", id, m.Size, m.Arrived.Local().Format("Mon Jan _2 15:04:05"), from)
	why := ""
	for i, r := range m.Waiting() {
		reason := r.Reply
		if r.Host != "" {
			reason = "host " + r.Host + " said: " + reason
		}
		if reason == "" {
			reason = m.Why
		}
		if reason != "" && (i == 0 || reason != why) {
			reason := smtp.Printable(reason, true)
			fmt.Fprintf(f.w, "%*s(%s)\n", max(0, 76-len(reason)), "", reason)
		}
		why = reason
		fmt.Fprintf(f.w, "%-17s %8s %-19s %s\n", "", "", "", smtp.Printable(r.Address, true))
	}
	_, err := fmt.Fprintln(f.w)
	return err
}

// End writes what stands below the list.
func (f *Mailq) End() error {
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
