package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
)

// change is a command that changes what is in the queue.
type change struct {
	op, done, short string
	reason          string // what --reason is for, "" = there is none
}

func changes() []change {
	return []change{
		{control.Hold, "held", "Keep messages from being tried until they are released", "why: it is shown in the list"},
		{control.Release, "released", "Let held messages go", ""},
		{control.Retry, "tried", "Try messages now, whatever their time and the state of their sites", ""},
		{control.Bounce, "bounced", "Give messages up and tell their senders", "what the sender is told"},
		{control.Remove, "removed", "Give messages up and tell nobody", "what the log says"},
		{control.Redirect, "redirected", "Put another recipient in the place of all that still wait", ""},
	}
}

// changer carries a change out.
type changer struct {
	change
	control.Change
	cmd    *cobra.Command
	client *control.Client
	yes    bool
}

func newQueueChange(c change) *cobra.Command {
	x := &changer{change: c}
	x.Op = c.op
	use, first := c.op+" [ID ...]", 0
	if c.op == control.Redirect {
		use, first = c.op+" ADDRESS [ID ...]", 1
	}
	cmd := &cobra.Command{Use: use, Short: c.short, Args: cobra.MinimumNArgs(first)}
	a, f := newAsker(cmd), addFilter(cmd)
	all := cmd.Flags().Bool("all", false, "all messages in the queue")
	cmd.Flags().BoolVar(&x.yes, "yes", false, "do not ask")
	if c.reason != "" {
		cmd.Flags().StringVar(&x.Reason, "reason", "", "`TEXT`: "+c.reason)
	}
	x.cmd = cmd
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if first > 0 {
			to, err := mta.ParseAddress(args[0])
			if err != nil {
				return &codedError{exitUsage, fmt.Errorf("%s: %w", args[0], err)}
			}
			x.To = to
		}
		filter, err := f.filter()
		if err != nil {
			return err
		}
		return x.run(a, args[first:], filter, *all)
	}
	return cmd
}

// run finds out which messages are meant, asks, and changes them.
func (x *changer) run(a *asker, args []string, filter control.Filter, all bool) error {
	ways := 0
	for _, given := range []bool{len(args) > 0, !filter.IsZero(), all} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return &codedError{exitUsage, errors.New("say which messages, in one way: by their ids, by filters, or --all")}
	}
	var ids []mta.ID
	for _, s := range args {
		id, err := parseID(s)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	var err error
	if x.client, err = a.connect(); err != nil {
		return err
	}
	defer x.client.Close()
	ctx := x.cmd.Context()
	if ids == nil {
		if ids, err = x.find(ctx, filter); err != nil {
			return asked(err)
		}
		if len(ids) == 0 {
			_, err := fmt.Fprintln(x.cmd.OutOrStdout(), nothing(filter))
			return coded(err)
		}
		if err := x.confirm(len(ids)); err != nil {
			return err
		}
	}
	return asked(x.apply(ctx, ids))
}

const errNothing = "no such message in the queue"

// nothing stands for an empty list.
func nothing(f control.Filter) string {
	if f == (control.Filter{}) {
		return "the queue is empty"
	}
	return errNothing
}

func (x *changer) find(ctx context.Context, f control.Filter) (ids []mta.ID, err error) {
	err = x.client.List(ctx, f, func(m *control.Message) error {
		ids = append(ids, m.ID)
		return nil
	})
	return ids, err
}

// confirm asks on a terminal, and refuses elsewhere, where nobody has said --yes.
func (x *changer) confirm(n int) error {
	if x.yes {
		return nil
	}
	what := fmt.Sprintf("%s to be %s", count(n, "message"), x.done)
	f, ok := x.cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &codedError{exitUsage, fmt.Errorf("%s: nobody can be asked, say --yes", what)}
	}
	fmt.Fprintf(x.cmd.ErrOrStderr(), "%s: go on? [y/N] ", what)
	line, err := bufio.NewReader(io.LimitReader(f, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return coded(err)
	}
	if s := strings.ToLower(strings.TrimSpace(line)); s != "y" && s != "yes" {
		return &codedError{exitTemporary, errors.New("nothing was done")}
	}
	return nil
}

// apply changes the messages, some at once, and on a terminal tells of the progress where that takes more than one step.
func (x *changer) apply(ctx context.Context, ids []mta.ID) error {
	errOut := x.cmd.ErrOrStderr()
	total, failed, gone := len(ids), 0, 0
	f, ok := errOut.(*os.File)
	live := ok && total > control.MaxIDs && term.IsTerminal(int(f.Fd()))
	for n := 0; n < total; {
		some := ids[n:min(n+control.MaxIDs, total)]
		results, err := x.client.Change(ctx, x.Change, some)
		if err != nil {
			return fmt.Errorf("after %d of %s: %w", n, count(total, "message"), err)
		}
		for _, r := range results {
			if r.Error == "" {
				continue
			}
			if failed++; r.Error == errNothing {
				gone++
			}
			fmt.Fprintf(errOut, "%s: %s\n", r.ID, printable(r.Error))
		}
		if n += len(some); live {
			fmt.Fprintf(errOut, "%d of %d\r", n, total) // what is written next begins over it
		}
	}
	if live {
		fmt.Fprintln(errOut)
	}
	if _, err := fmt.Fprintf(x.cmd.OutOrStdout(), "%s %s\n", count(total-failed, "message"), x.done); err != nil {
		return err
	}
	switch {
	case failed == 0:
		return nil
	case gone == total:
		return &codedError{exitNoInput, errors.New(errNothing)}
	}
	return &codedError{exitTemporary, fmt.Errorf("%d of %s not %s", failed, count(total, "message"), x.done)}
}

// newQueueFlush is retry for a domain, without a question: it does no harm.
func newQueueFlush() *cobra.Command {
	x := &changer{change: change{op: control.Retry, done: "tried"}, yes: true}
	x.Op = control.Retry
	cmd := &cobra.Command{
		Use:   "flush DOMAIN",
		Short: "Try all messages for a domain now",
		Args:  cobra.ExactArgs(1),
	}
	x.cmd = cmd
	a := newAsker(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		v := control.Filter{Domain: args[0], Status: control.StatusDeferred}
		if args[0] == "" {
			return &codedError{exitUsage, errors.New("no domain given")}
		}
		return x.run(a, nil, v, false)
	}
	return cmd
}
