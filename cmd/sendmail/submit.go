package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// How long an smtpd is waited for that is away: it may be starting again.
const (
	patience  = 10 * time.Second
	firstWait = 50 * time.Millisecond
	lastWait  = time.Second
)

// submit gives the letter to smtpd. Nothing was accepted as long as the end of the data was not sent, so until then
// another attempt doubles nothing.
func (l *letter) submit(ctx context.Context) error {
	return l.c.explain(patiently(ctx, func() error { return l.attempt(ctx) }))
}

// patiently repeats what may do better within moments.
func patiently(ctx context.Context, attempt func() error) error {
	until := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := attempt()
		if err == nil || !again(err) || time.Now().Add(wait).After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// awayError says that smtpd did not take up the conversation.
type awayError struct{ err error }

func (e *awayError) Error() string { return e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

func (l *letter) attempt(ctx context.Context) error {
	conn, err := l.c.dial(ctx)
	if err != nil {
		return err
	}
	client := smtpc.New(ctx, conn, "localhost", smtpc.Timeouts{})
	if err := client.Hello(); err != nil {
		client.Close()
		return &awayError{err}
	}
	if err := l.send(client); err != nil {
		client.Close()
		return err
	}
	client.Quit()
	return nil
}

func (c *command) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, &awayError{err}
	}
	return conn, nil
}

// askName takes smtpd's name for the origin where the configuration cannot be read: that is a domain of the caller's, which
// the machine's own name need not be.
func (c *command) askName(ctx context.Context) {
	if c.cfg != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return
	}
	client := smtpc.New(ctx, conn, "localhost", smtpc.Timeouts{})
	defer client.Close()
	if client.Hello() != nil {
		return
	}
	if name, err := mta.ParseDomain(client.Greeted()); err == nil {
		c.origin = name
	}
	client.Quit()
}

// again says whether another attempt may do better within moments.
func again(err error) bool {
	var away *awayError
	var r mta.Reply
	var s *sendError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return false
	case errors.As(err, &away):
		return !errors.As(err, &r) || r.Code == 421
	case errors.As(err, &r):
		return r.Code == 421 && stageOf(err) != "end of data"
	case errors.As(err, &s): // the connection was lost
		return s.stage != "end of data" && !errors.Is(err, smtpc.ErrContent)
	}
	return false
}

// explain gives an error its exit status.
func (c *command) explain(err error) error {
	var known *exitError
	var away *awayError
	var r mta.Reply
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &exitError{exitNoPerm, err}
	case errors.As(err, &r):
		return &exitError{status(stageOf(err), r), err}
	case errors.Is(err, smtpc.ErrUnknown):
		return failure(exitTempFail, "smtpd went away before it answered: the message may have been sent or not: %w", err)
	case errors.As(err, &away):
		err = fmt.Errorf("posthouse-smtpd does not answer: is it running? %w", err)
		if c.fault != nil {
			err = fmt.Errorf("%w (and its configuration cannot be read: %s)", err, strings.ReplaceAll(c.fault.Error(), "\n", "; "))
		}
	case errors.Is(err, smtpc.ErrTooLarge):
		return &exitError{exitDataErr, err}
	case errors.Is(err, smtpc.ErrNoUTF8), errors.Is(err, smtpc.ErrNo8Bit):
		return &exitError{exitUnavailable, err}
	}
	return &exitError{exitTempFail, err}
}

// status is the exit status of a refusal.
func status(stage string, r mta.Reply) int {
	switch {
	case r.Enhanced == "4.5.3": // more recipients than the configuration allows: the next time will be no other
		return exitDataErr
	case r.Temporary():
		return exitTempFail
	case strings.HasPrefix(r.Enhanced, "5.7."):
		return exitNoPerm
	case r.Enhanced == "5.1.2":
		return exitNoHost
	case stage == "RCPT" && strings.HasPrefix(r.Enhanced, "5.1."):
		return exitNoUser
	case stage == "end of data" && (strings.HasPrefix(r.Enhanced, "5.3.4") || strings.HasPrefix(r.Enhanced, "5.6.")):
		return exitDataErr
	}
	return exitUnavailable
}

// relay joins standard input and output with smtpd: the caller speaks SMTP (-bs).
func (c *command) relay(ctx context.Context) error {
	var conn net.Conn
	err := patiently(ctx, func() (err error) {
		conn, err = c.dial(ctx)
		return err
	})
	if err != nil {
		return c.explain(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, c.in)
		if u, ok := conn.(*net.UnixConn); ok {
			_ = u.CloseWrite() // smtpd ends the session, and with it the copy below
		}
	}()
	if _, err := io.Copy(c.out, conn); err != nil {
		return failure(exitIOErr, "%w", err)
	}
	return nil
}
