package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/control"
)

// asker is a command that asks queue-runner over its socket.
type asker struct {
	cmd  *cobra.Command
	path *string
}

func newAsker(cmd *cobra.Command) *asker {
	return &asker{cmd, cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")}
}

// connect returns a client of the socket that the configuration names.
func (a *asker) connect() (*control.Client, error) {
	cfg, err := config.Read(*a.path)
	if err != nil {
		return nil, coded(err)
	}
	return control.NewClient(filepath.Join(cfg.Run, "queue", control.SocketName)), nil
}

// about reads the id of a message, and connects to ask about it.
func (a *asker) about(arg string) (id mta.ID, c *control.Client, err error) {
	if id, err = parseID(arg); err == nil {
		c, err = a.connect()
	}
	return id, c, err
}

// asked gives an error of the other side its exit code.
func asked(err error) error {
	var refused *control.StatusError
	var exit *codedError
	switch {
	case err == nil, errors.As(err, &exit):
		return err
	case errors.Is(err, control.ErrAbsent):
		return &codedError{exitUnavailable, err}
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		return &codedError{exitNoPerm, err}
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return &codedError{exitNoInput, err}
	case errors.As(err, &refused) && refused.Status == http.StatusBadRequest:
		return &codedError{exitUsage, err}
	}
	return coded(err)
}

// askedFor is asked where it was about one message.
func askedFor(id mta.ID, err error) error {
	var refused *control.StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return &codedError{exitNoInput, fmt.Errorf("%s: %w; posthouse trace %[1]s tells what became of it", id, err)}
	}
	return asked(err)
}

// filterFlags are the flags that say which messages are meant.
type filterFlags struct {
	control.Filter
	older string
}

func addFilter(cmd *cobra.Command) *filterFlags {
	f := new(filterFlags)
	fl := cmd.Flags()
	fl.StringVar(&f.From, "from", "", "whose sender is `ADDRESS`, with * for anything; <> for the null sender")
	fl.StringVar(&f.To, "to", "", "with a recipient `ADDRESS` that is not done")
	fl.StringVar(&f.Domain, "domain", "", "with a recipient in `DOMAIN`")
	fl.StringVar(&f.older, "older", "", "that came in `TIME` ago or longer: 30m, 2h, 3d")
	fl.StringVar(&f.Reply, "reply", "", "whose last reply has `TEXT` in it")
	fl.StringVar(&f.Status, "status", "", "that are `STATUS`: "+strings.Join(control.Statuses(), ", "))
	return f
}

func (f *filterFlags) filter() (control.Filter, error) {
	v := f.Values()
	if f.older != "" {
		v.Set("older", f.older)
	}
	filter, err := control.ParseFilter(v)
	if err != nil {
		return filter, &codedError{exitUsage, fmt.Errorf("--%w", err)}
	}
	return filter, nil
}

func parseID(s string) (mta.ID, error) {
	id, err := mta.ParseID(strings.TrimRight(s, "*!")) // as mailq marks them
	if err != nil {
		return "", &codedError{exitUsage, fmt.Errorf("%q: %w", s, err)}
	}
	return id, nil
}

// printable keeps what a stranger has chosen from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(strings.ReplaceAll(line, "\t", " "))
	}
	return strings.Join(lines, "\n")
}

func sender(s string) string {
	if s == "" {
		return "<>"
	}
	return printable(s)
}

// span is a time in the largest unit that leaves two digits.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "now"
	case d < 100*time.Second:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// octets is a size in the largest unit that leaves a digit.
func octets(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprint(n)
}
