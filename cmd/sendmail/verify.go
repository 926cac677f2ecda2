package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// verify is -bv: it tells of each recipient whether smtpd takes it, and sends nothing. Its status is that of the first that is
// not taken.
func (c *command) verify(ctx context.Context) error {
	rcpts, err := c.named()
	if err != nil {
		return err
	}
	if len(rcpts) == 0 {
		return failure(exitUsage, "no recipients: name those that are meant behind -bv")
	}
	c.askName(ctx)
	l := &letter{c: c, sender: c.self()}
	if err := l.address(rcpts); err != nil {
		return err
	}
	l.probe = true
	return l.submit(ctx)
}

// ask asks for the recipients.
func (l *letter) ask(client *smtpc.Client) error {
	m := smtpc.Message{From: l.sender, Rcpts: l.rcpts, Probe: true,
		SMTPUTF8: slices.ContainsFunc(l.rcpts, func(r mta.Recipient) bool { return !r.Address.IsASCII() })}
	results, _, err := client.Send(m)
	if err != nil {
		return err
	}
	for _, r := range results { // an error of the connection is no answer
		if said := (mta.Reply{}); r.Err != nil && (r.Stage != "RCPT" || !errors.As(r.Err, &said)) {
			return &sendError{stage: r.Stage, err: r.Err}
		}
	}
	var first error
	for i, r := range results {
		a := m.Rcpts[i].Address.String()
		if r.Err == nil {
			fmt.Fprintf(l.c.out, "%s... deliverable\n", a)
			continue
		}
		fmt.Fprintf(l.c.out, "%s... %v\n", a, r.Err)
		if first == nil {
			first = &sendError{stage: r.Stage, rcpt: a, err: r.Err}
		}
	}
	return first
}
