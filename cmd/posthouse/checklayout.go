package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// layout holds users, owners and modes of an installed system against the table of them. A private instance, where one
// user runs all, is as that user has it.
func (c *checker) layout(path string) {
	missing := layout.Missing()
	if daemon.Private(c.cfg) && (path != config.DefaultPath || len(missing) > 0) {
		return
	}
	for _, name := range missing {
		c.problems = append(c.problems, fmt.Sprintf("there is no user or group %s; make it: systemd-sysusers, or as posthouse folders --sysusers lists it", name))
	}
	if len(missing) > 0 {
		return
	}
	pairs, err := layout.Strangers()
	if err != nil {
		c.problems = append(c.problems, err.Error())
	}
	for _, p := range pairs {
		c.problems = append(c.problems, fmt.Sprintf("user %s is not in group %s; mend it: usermod -a -G %[2]s %[1]s, and restart the daemons", p[0], p[1]))
	}
	for _, e := range layout.Of(c.cfg) {
		if n, first, err := e.Inside(false); err == nil && n > 0 {
			c.problems = append(c.problems, strangers(e, n, first)+"; mend it: posthouse folders --fix")
		}
		err := e.Check()
		switch {
		case err == nil, e.File && errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission):
			c.warnings = append(c.warnings, fmt.Sprintf("%v: run this as root to have it checked", err))
		case errors.Is(err, fs.ErrNotExist):
			c.problems = append(c.problems, fmt.Sprintf("%s is missing; make it: posthouse folders", e.Path))
		default:
			c.problems = append(c.problems, fmt.Sprintf("%v; mend it: %s", err, e.Command()))
		}
	}
}
