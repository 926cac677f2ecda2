package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// listQueue is mailq(1).
func (c *command) listQueue(ctx context.Context) error {
	client := control.NewClient(c.control)
	defer client.Close()
	out := bufio.NewWriter(c.out)
	form := control.NewMailq(out)
	err := client.List(ctx, control.Filter{}, form.Message)
	if err == nil {
		err = form.End()
	}
	return asked(errors.Join(err, out.Flush()))
}

// flushQueue has the messages tried now that -q names.
func (c *command) flushQueue(ctx context.Context) error {
	client := control.NewClient(c.control)
	defer client.Close()
	var ids []mta.ID
	filter, id := c.flushed()
	err := client.List(ctx, filter, func(m *control.Message) error {
		if m.Status == control.StatusDeferred && (id == "" || strings.EqualFold(string(m.ID), id)) {
			ids = append(ids, m.ID)
		}
		return nil
	})
	for chunk := range slices.Chunk(ids, control.MaxIDs) {
		if err != nil {
			break
		}
		_, err = client.Change(ctx, control.Change{Op: control.Retry}, chunk) // one that is gone, or under way, needs none
	}
	return asked(err)
}

// flushed is what -q names: messages to or from addresses, or an id.
func (c *command) flushed() (f control.Filter, id string) {
	if c.flush == "" {
		return f, ""
	}
	switch part := c.flush[1:]; c.flush[0] {
	case 'R':
		f.To = "*" + part + "*"
	case 'S':
		f.From = "*" + part + "*"
	default:
		id = part
	}
	return f, id
}

// asked gives an error of queue-runner its exit status.
func asked(err error) error {
	var refused *control.StatusError
	var file *fs.PathError // what is wrong with the output, and not with queue-runner
	switch {
	case err == nil:
		return nil
	case errors.Is(err, control.ErrAbsent):
		return &exitError{exitUnavailable, err}
	case errors.As(err, &file):
		return &exitError{exitIOErr, err}
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		return &exitError{exitNoPerm, err}
	}
	return &exitError{exitTempFail, err}
}

// checkAliases is newaliases(1). There is nothing to build: smtpd and queue-runner read the files as they are, and follow
// their changes. Who has a mailbox the caller may not be allowed to know: posthouse check finds targets that nobody is.
func (c *command) checkAliases(ctx context.Context) error {
	if c.fault != nil {
		return &exitError{exitConfig, c.fault}
	}
	o := route.FromConfig(c.cfg)
	o.Users = everybody{}
	r, err := route.New(o)
	if err == nil {
		if faults := r.Check(ctx); len(faults) > 0 {
			err = errors.New(strings.Join(faults, "\n"))
		}
	}
	if err != nil {
		return &exitError{exitDataErr, err}
	}
	if c.verbose {
		for _, name := range c.cfg.LocalDomains() {
			if file := c.cfg.Domains[name].Aliases; file != "" {
				fmt.Fprintf(c.out, "%s: good, for %s\n", file, name)
			}
		}
	}
	return nil
}

// everybody has a mailbox.
type everybody struct{}

func (everybody) Lookup(_ context.Context, a mta.Address) (directory.User, error) {
	return directory.User{Address: a}, nil
}
