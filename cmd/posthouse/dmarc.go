package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/dmarc"
)

// newDMARC is `posthouse dmarc`: what the filter dmarc has found.
func newDMARC() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dmarc",
		Short: "Show what was found about other domains' mail",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("dmarc: no command given") },
	}
	cmd.AddCommand(newDMARCReport())
	return cmd
}

func newDMARCReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report [DOMAIN]",
		Short: "Show the aggregate reports of a day, as they were sent or will be",
		Args:  cobra.MaximumNArgs(1),
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	day := cmd.Flags().String("day", "", "the `DAY` in UTC, as in 2026-11-28 (default: the last one of which something is known)")
	asXML := cmd.Flags().Bool("xml", false, "the document itself, for the one domain that is named")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		domain := ""
		if len(args) > 0 {
			domain = strings.ToLower(args[0])
		}
		if *asXML && domain == "" {
			return &codedError{exitUsage, errors.New("dmarc report: --xml wants a DOMAIN")}
		}
		if _, err := time.Parse(time.DateOnly, *day); *day != "" && err != nil {
			return &codedError{exitUsage, fmt.Errorf("--day: %q is no day; allowed: as in 2026-11-28", *day)}
		}
		return coded(dmarcReport(cfg, *day, domain, *asXML, cmd.OutOrStdout()))
	}
	return cmd
}

func dmarcReport(cfg *config.Config, day, domain string, asXML bool, out io.Writer) error {
	dir := filepath.Join(cfg.State, "filters", "dmarc")
	days, err := dmarc.Days(dir)
	switch {
	case err != nil:
		return err
	case len(days) == 0:
		return &codedError{exitUnavailable, fmt.Errorf("nothing is known: the filter dmarc has found no mail in %s whose domain asks for reports", dir)}
	case day == "":
		day = days[len(days)-1]
	case !slices.Contains(days, day):
		return &codedError{exitUnavailable, fmt.Errorf("nothing is known of %s; there is: %s", day, strings.Join(days, ", "))}
	}
	all, err := dmarc.Load(dir, day)
	if err != nil {
		return err
	}
	if domain != "" {
		a := all[domain]
		if a == nil {
			return &codedError{exitUnavailable, fmt.Errorf("nothing is known of %s on %s; there is: %s", domain, day, strings.Join(slices.Sorted(maps.Keys(all)), ", "))}
		}
		all = map[string]*dmarc.Aggregate{domain: a}
	}
	if asXML {
		b, err := dmarc.Reporter{Hostname: cfg.Hostname, Software: "Posthouse " + daemon.Version()}.XML(day, all[domain])
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	}
	sent, _, err := dmarc.Sent(dir, day)
	if err != nil {
		return err
	}
	return showDMARC(day, all, sent, out)
}

func showDMARC(day string, all map[string]*dmarc.Aggregate, sent map[string][]string, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	start, _ := time.Parse(time.DateOnly, day) // Days has parsed it
	fmt.Fprintf(w, "%s (UTC)\n", start.Format("Monday, 2 January 2006"))
	for _, domain := range slices.Sorted(maps.Keys(all)) {
		a := all[domain]
		state := "not sent yet, for " + strings.Join(a.RUA, ", ")
		if to, ok := sent[domain]; ok {
			state = "sent to " + strings.Join(to, ", ")
			if len(to) == 0 {
				state = "not sent: no address that wants it"
			}
		}
		fmt.Fprintf(w, "\n%s: p=%s, %s\nSOURCE\tCOUNT\tDISPOSITION\tDKIM\tSPF\tFROM\tSENDER\n", domain, a.Published.P, state)
		word := map[bool]string{true: "pass", false: "fail"}
		for _, r := range a.Rows {
			disposition := r.Disposition
			if r.Reason != "" {
				disposition += " (" + r.Reason + ")"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Source, r.Count, disposition, word[r.DKIM], word[r.SPF], printable(r.HeaderFrom), printable(r.EnvelopeFrom))
		}
		if a.Lost > 0 {
			fmt.Fprintf(w, "and %d messages in further rows\n", a.Lost)
		}
	}
	return w.Flush()
}
