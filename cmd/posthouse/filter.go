package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// Bounds of what smtpd is asked for.
const (
	controlTimeout = 10 * time.Second
	maxControl     = 4 << 20
)

// newFilter is `posthouse filter`: the programs that judge mail.
func newFilter() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "filter",
		Short: "Look after the filters",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("filter: no command given") },
	}
	cmd.AddCommand(newFilterList(), newFilterRun(), newFilterEnable(), newFilterDisable())
	return cmd
}

func newFilterList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the enabled filters: their state, and what they did since smtpd began",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	asJSON := cmd.Flags().Bool("json", false, "as JSON, with all that is known")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		b, err := askSMTPD(filepath.Join(cfg.Run, "smtpd", "control.sock"))
		if err != nil {
			return &codedError{exitUnavailable, fmt.Errorf("smtpd does not answer: is it running? %w", err)}
		}
		if *asJSON {
			_, err = cmd.OutOrStdout().Write(b)
			return coded(err)
		}
		return coded(showFilters(b, cmd.OutOrStdout()))
	}
	return cmd
}

// askSMTPD reads the state that smtpd tells to whoever connects.
func askSMTPD(socket string) ([]byte, error) {
	nc, err := net.DialTimeout("unix", socket, controlTimeout)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(nc, maxControl))
}

// filterState is what smtpd says of a filter.
type filterState struct {
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Error    string            `json:"error"`
	Version  string            `json:"version"`
	Restarts int               `json:"restarts"`
	Verdicts map[string]uint64 `json:"verdicts"`
	Stages   map[string]struct {
		Calls    uint64 `json:"calls"`
		Failures uint64 `json:"failures"`
	} `json:"stages"`
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

func showFilters(b []byte, out io.Writer) error {
	var state struct {
		Filters []filterState `json:"filters"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return fmt.Errorf("smtpd's answer: %w", err)
	}
	if len(state.Filters) == 0 {
		_, err := fmt.Fprintln(out, "no filter is enabled: see filters.enabled in posthouse.toml(5)")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tVERSION\tRESTARTS\tCALLS\tFAILED\tP50\tP99\tVERDICTS")
	for _, f := range state.Filters {
		var calls, failed uint64
		for _, s := range f.Stages {
			calls, failed = calls+s.Calls, failed+s.Failures
		}
		var verdicts []string
		for _, v := range slices.Sorted(maps.Keys(f.Verdicts)) {
			verdicts = append(verdicts, fmt.Sprintf("%s=%d", v, f.Verdicts[v]))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", f.Name, f.State, dash(f.Version), f.Restarts, calls, failed,
			f.P50.Round(time.Microsecond), f.P99.Round(time.Microsecond), dash(strings.Join(verdicts, " ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range state.Filters {
		if f.Error != "" {
			if _, err := fmt.Fprintf(out, "%s: %s\n", f.Name, f.Error); err != nil {
				return err
			}
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
