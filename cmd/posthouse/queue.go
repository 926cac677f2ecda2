package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// Exit codes of the commands that ask queue-runner.
const (
	exitNoInput     = 66 // no such message
	exitUnavailable = 69 // queue-runner is not there
)

// exitFound is the exit code of a check that has found something.
const exitFound = 1

// newQueue is `posthouse queue`: what the spool holds.
func newQueue() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Look after the queue",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("queue: no command given") },
	}
	cmd.AddCommand(newQueueList(), newQueueShow(), newQueueCat(), newQueueStat(), newQueueDest(), newQueueCheck())
	for _, c := range changes() {
		cmd.AddCommand(newQueueChange(c))
	}
	cmd.AddCommand(newQueueFlush())
	return cmd
}

func newQueueCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read the whole spool and report any inconsistency; changes nothing",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return queueCheck(*path, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// queueCheck prints what is in the spool on out and what is wrong with it on errOut.
func queueCheck(path string, out, errOut io.Writer) error {
	// Without a look at the files that it names: the spool is there to be checked, whatever else is missing.
	cfg, err := config.Read(path)
	if err != nil {
		return coded(err)
	}
	r, err := spool.Check(durable.OS{}, cfg.Spool.Path)
	if err != nil {
		return coded(err)
	}
	for _, l := range r.Lines {
		if _, err := fmt.Fprintln(out, l); err != nil {
			return coded(err)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintln(errOut, p)
	}
	if n := len(r.Problems); n > 0 {
		return &codedError{exitFound, fmt.Errorf("%s: %s", cfg.Spool.Path, count(n, "problem"))}
	}
	_, err = fmt.Fprintf(out, "OK: %s\n", cfg.Spool.Path)
	return coded(err)
}
