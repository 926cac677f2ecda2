// Command sendmail takes a message from a program of this machine and gives it to smtpd's local socket; sendmail(8)
// describes it. Called as mailq it lists the queue, as newaliases it checks the aliases files. It has no privileges: the
// kernel tells smtpd who calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(execute(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// command is one call of the program.
type command struct {
	options
	site
	in          io.Reader
	out, errOut io.Writer
}

// execute runs the program and returns its exit status, after sysexits.h.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	name := "sendmail"
	if len(args) > 0 {
		name, args = filepath.Base(args[0]), args[1:]
	}
	c := &command{in: in, out: out, errOut: errOut}
	o, err := parseOptions(name, args)
	if err == nil {
		c.options = o
		c.site, err = findSite(o.config, os.Geteuid())
	}
	if err == nil {
		err = c.run(ctx)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(errOut, "%s: %v\n", name, err)
	var known *exitError
	if errors.As(err, &known) {
		return known.status
	}
	return exitTempFail
}

func (c *command) run(ctx context.Context) error {
	switch c.mode {
	case modeQueue:
		return c.listQueue(ctx)
	case modeAliases:
		return c.checkAliases(ctx)
	case modeFlush:
		return c.flushQueue(ctx)
	case modeSMTP:
		return c.relay(ctx)
	case modeVerify:
		return c.verify(ctx)
	}
	return c.deliver(ctx)
}

// Exit statuses, after sysexits.h.
const (
	exitUsage       = 64
	exitDataErr     = 65
	exitNoUser      = 67
	exitNoHost      = 68
	exitUnavailable = 69
	exitIOErr       = 74
	exitTempFail    = 75
	exitNoPerm      = 77
	exitConfig      = 78
)

// exitError is an error with the exit status that it ends the program with.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func failure(status int, format string, args ...any) error {
	return &exitError{status, fmt.Errorf(format, args...)}
}
