package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// deliver takes the message from standard input and gives it to smtpd.
func (c *command) deliver(ctx context.Context) error {
	rcpts, err := c.named()
	if err != nil {
		return err
	}
	if len(rcpts) == 0 && !c.extract {
		return failure(exitUsage, "no recipients: name them behind the options, or in the header, with -t")
	}
	c.askName(ctx)
	sender, err := c.sender()
	if err != nil {
		return err
	}
	s := &store{limit: c.limit}
	defer s.close()
	if err := (&collector{s: s, dots: c.dots, max: c.line}).collect(c.in); err != nil {
		return err
	}
	h, err := readHeader(s)
	if err != nil {
		return err
	}
	if c.extract {
		if h.long {
			return failure(exitDataErr, "the header is longer than %d octets: its recipients cannot be found", maxHeader)
		}
		more, err := h.recipients()
		if err != nil {
			return err
		}
		rcpts = append(rcpts, more...)
	}
	l := &letter{c: c, s: s, h: h, sender: sender}
	if err := l.address(rcpts); err != nil {
		return err
	}
	return l.submit(ctx)
}

// named are the recipients on the command line.
func (c *command) named() (rcpts []string, err error) {
	for _, arg := range c.args {
		list, err := parseList(arg)
		if err != nil {
			return nil, failure(exitUsage, "recipient %s: %w", arg, err)
		}
		for _, a := range list {
			rcpts = append(rcpts, a.text)
		}
	}
	return rcpts, nil
}

// sender is what -f says, or the caller.
func (c *command) sender() (mta.Address, error) {
	if c.from == nil {
		return c.self(), nil
	}
	list, err := parseList(*c.from)
	switch {
	case err != nil || len(list) > 1:
		return mta.Address{}, failure(exitUsage, "-f %s: no address", *c.from)
	case len(list) == 0 || list[0].text == "": // -f "" and -f "<>"
		return mta.Address{}, nil
	}
	a, err := mta.ParseAddress(c.complete(list[0].text))
	if err != nil {
		return a, failure(exitUsage, "-f %s: %w", *c.from, err)
	}
	return a, nil
}

// letter is a message on its way to smtpd.
type letter struct {
	c      *command
	s      *store
	h      *header
	sender mta.Address
	rcpts  []mta.Recipient
	probe  bool // it is to be learned who would get it; there is none
}

func (l *letter) address(rcpts []string) error {
	for _, text := range rcpts {
		a, err := mta.ParseAddress(l.c.complete(text))
		if err != nil {
			return failure(exitDataErr, "recipient %s: %w", text, err)
		}
		if !slices.ContainsFunc(l.rcpts, func(r mta.Recipient) bool { return r.Address == a }) {
			l.rcpts = append(l.rcpts, mta.Recipient{Address: a, Notify: l.c.notify})
		}
	}
	if len(l.rcpts) == 0 {
		return failure(exitUsage, "no recipients in the header")
	}
	return nil
}

// message is one transaction. The sender that smtpd has refused is named in a warning, as sendmail(8) has always done.
func (l *letter) message(sender mta.Address, warning string) smtpc.Message {
	author, name := sender, l.c.name
	if author.IsNull() {
		author = l.c.self()
	}
	if name == "" && author == l.c.self() {
		name = l.c.full
	}
	head := l.h.render(l.c.origin, name, author, warning)
	m := smtpc.Message{
		From: sender, Rcpts: l.rcpts, Size: int64(len(head)) + l.s.size - l.h.body, Ret: l.c.ret, EnvID: l.c.envID, AllOrNone: true,
		SMTPUTF8: !sender.IsASCII() || slices.ContainsFunc(l.rcpts, func(r mta.Recipient) bool { return !r.Address.IsASCII() }),
		Content:  io.MultiReader(strings.NewReader(head), io.NewSectionReader(l.s, l.h.body, l.s.size-l.h.body)),
	}
	return m
}

// send runs one transaction, and a second one where the sender is not the caller's to use: then it is the caller.
func (l *letter) send(client *smtpc.Client) error {
	if l.probe {
		return l.ask(client)
	}
	err := l.transact(client, l.message(l.sender, ""))
	var r mta.Reply
	if self := l.c.self(); errors.As(err, &r) && r.Enhanced == "5.7.1" && stageOf(err) == "MAIL" && l.sender != self {
		shown := "another address"
		if l.sender.IsASCII() {
			shown = l.sender.String()
		}
		warning := fmt.Sprintf("X-Authentication-Warning: %s: %s set sender to\r\n\t%s using -f\r\n", l.c.origin, l.c.login, shown)
		err = l.transact(client, l.message(self, warning))
	}
	return err
}

// sendError is what became of a transaction that did not succeed.
type sendError struct {
	stage string // MAIL, RCPT, DATA, end of data
	rcpt  string // "" = it is that of all
	more  int    // further recipients that were refused
	err   error
}

func (e *sendError) Error() string {
	s := e.stage
	if e.rcpt != "" {
		s = "recipient " + e.rcpt
	}
	s += ": " + e.err.Error()
	if e.more > 0 {
		s += fmt.Sprintf(" (and %d more)", e.more)
	}
	return s
}

func (e *sendError) Unwrap() error { return e.err }

func stageOf(err error) string {
	var s *sendError
	if errors.As(err, &s) {
		return s.stage
	}
	return ""
}

func (l *letter) transact(client *smtpc.Client, m smtpc.Message) error {
	results, _, err := client.Send(m)
	if err != nil {
		return err
	}
	var first *sendError
	for i, r := range results {
		switch {
		case r.Err == nil || errors.Is(r.Err, smtpc.ErrOthersRefused):
		case first == nil:
			first = &sendError{stage: r.Stage, err: r.Err}
			if r.Stage == "RCPT" {
				first.rcpt = m.Rcpts[i].Address.String()
			}
		case first.stage == "RCPT":
			first.more++
		}
	}
	if first != nil {
		return first
	}
	if l.c.verbose {
		fmt.Fprintf(l.c.out, "%s\n", results[0].Reply)
	}
	return nil
}
