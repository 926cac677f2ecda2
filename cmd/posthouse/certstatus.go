package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/acme"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// certLine is a certificate in `posthouse cert status`.
type certLine struct {
	Names   []string  `json:"names"`
	Path    string    `json:"path"`
	Issuer  string    `json:"issuer,omitempty"`
	StandIn bool      `json:"stand_in"` // it is not from the authority
	Expires time.Time `json:"expires,omitzero"`
	Days    int       `json:"days"`
	Renew   time.Time `json:"renew,omitzero"`
	Tried   time.Time `json:"tried,omitzero"`
	Error   string    `json:"error,omitempty"`
	Why     string    `json:"unknown,omitempty"`
}

// newCertStatus is `posthouse cert status`: what there is, and what comes next.
func newCertStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the certificates, when they end, and how the last attempt went",
		Args:  cobra.NoArgs,
	}
	c := &certs{}
	cmd.Flags().StringVarP(&c.path, "config", "c", config.DefaultPath, "the configuration `FILE`")
	asJSON := cmd.Flags().Bool("json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.read(); err != nil {
			return coded(err)
		}
		lines, bad := c.lines(time.Now())
		var err error
		if *asJSON {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(lines)
		} else {
			err = showCerts(cmd.OutOrStdout(), lines)
		}
		if err == nil && bad > 0 {
			return &codedError{exitFound, fmt.Errorf("%s to look after", count(bad, "certificate"))}
		}
		return coded(err)
	}
	return cmd
}

// lines also counts the certificates that are not as they should be: missing, ended, or due with an attempt that failed.
func (c *certs) lines(now time.Time) (all []certLine, bad int) {
	all = []certLine{}
	for _, t := range c.targets {
		s := acme.Look(t, c.state(), c.cfg.ACME.Output)
		l := certLine{Names: t.Names, Path: t.Certificate, Renew: s.Renew(), StandIn: s.StandIn(), Tried: s.Record.Tried, Error: s.Record.Error}
		if s.Why != nil {
			l.Why = s.Why.Error()
		}
		if s.Leaf != nil {
			l.Issuer, l.Expires, l.Days = s.Leaf.Issuer.String(), s.Leaf.NotAfter, int(s.Leaf.NotAfter.Sub(now).Hours()/24)
		}
		if s.Leaf == nil || l.StandIn || l.Error != "" || now.After(l.Expires) {
			bad++
		}
		all = append(all, l)
	}
	return all, bad
}

func showCerts(out io.Writer, lines []certLine) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		state := fmt.Sprintf("%s left", count(l.Days, "day"))
		switch {
		case l.Why != "":
			state = "none: " + l.Why
		case l.StandIn:
			state = "a stand-in, until one is obtained"
		case !l.Renew.IsZero():
			state += ", renewed from " + l.Renew.Local().Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable(l.Names[0]), printable(state), printable(l.Path))
		for _, n := range l.Names[1:] {
			fmt.Fprintf(w, "%s\n", printable(n))
		}
		if l.Issuer != "" && !l.StandIn {
			fmt.Fprintf(w, "  by\t%s\n", printable(l.Issuer))
		}
		if l.Error != "" {
			fmt.Fprintf(w, "  failed %s\t%s\n", l.Tried.Local().Format(time.DateTime), printable(l.Error))
		}
	}
	return w.Flush()
}
