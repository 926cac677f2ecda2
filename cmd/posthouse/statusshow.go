package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// tableLine writes a line of a table, whose cells are apart by tabs.
type tableLine func(form string, args ...any)

// text shows an overview on one screen. What comes from elsewhere is made harmless.
func (o *overview) text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(form string, args ...any) {
		fmt.Fprintln(w, printableTabs(fmt.Sprintf(form, args...)))
	}
	for _, d := range o.Daemons {
		up := "-"
		if !d.Start.IsZero() {
			up = "for " + span(o.At.Sub(d.Start))
		}
		line("%s\t%s\t%s\t%s", d.Name, d.State, up, d.Why)
	}
	line("")
	o.Queue.show(line, o.At)
	if o.Disk == nil {
		line("spool\tunknown")
	} else {
		line("spool\t%s free\tof %s\t%s", octets(o.Disk.Free), octets(o.Disk.Size), o.Disk.Path)
	}
	for _, r := range o.Rates {
		line("%s\t%.0f\t%.1f a minute\t%s", r.What, r.Total, r.PerMinute, r.Over)
	}
	if len(o.Rates) == 0 {
		line("rates\tunknown\tno daemon has an address in [metrics] that answers")
	}
	line("")
	o.showCertificates(line)
	o.showFilters(line)
	if err := w.Flush(); err != nil {
		return err
	}
	return o.showErrors(out)
}

func (q *queueView) show(line tableLine, now time.Time) {
	switch {
	case !q.Known:
		line("queue\tunknown\tqueue-runner has not told within the last minute")
	case q.Messages == 0:
		line("queue\tempty\t%s ago", span(now.Sub(q.Told)))
	default:
		var parts []string
		for _, s := range slices.Sorted(maps.Keys(q.Status)) {
			parts = append(parts, fmt.Sprintf("%d %s", q.Status[s], s))
		}
		line("queue\t%s\toldest %s\t%s", count(q.Messages, "message"), span(now.Sub(q.Oldest)), strings.Join(parts, ", "))
	}
	for _, d := range q.Dead {
		line("dead\t%s", d)
	}
}

func (o *overview) showCertificates(line tableLine) {
	for _, c := range o.Certificates {
		if c.Why != "" {
			line("certificate\tunknown\t%s", c.Why)
		} else {
			line("certificate\t%s left\t%s", count(c.Days, "day"), c.Path)
		}
	}
	if len(o.Certificates) == 0 {
		line("certificate\tnone")
	}
	o.renewal(line)
}

func (o *overview) showFilters(line tableLine) {
	switch {
	case !o.FiltersKnown:
		line("filters\tunknown\tsmtpd does not answer")
	case len(o.Filters) == 0:
		line("filters\tnone")
	}
	for _, f := range o.Filters {
		line("filter %s\t%s\t%s\t%s", f.Name, f.State, count(f.Restarts, "restart"), f.Error)
	}
}

func (o *overview) showErrors(out io.Writer) error {
	switch {
	case o.ErrorsWhy != "":
		fmt.Fprintf(out, "\nerrors: unknown: %s\n", printable(o.ErrorsWhy))
	case len(o.Errors) == 0:
		fmt.Fprint(out, "\nerrors: none within a day\n")
	default:
		fmt.Fprint(out, "\nlast errors:\n")
	}
	for _, e := range o.Errors {
		if _, err := fmt.Fprintf(out, "%s  %s  %s\n", moment(e.At), printable(e.Event), printable(e.Text)); err != nil {
			return err
		}
	}
	return nil
}

// printableTabs is printable for a line whose tabs are ours.
func printableTabs(s string) string {
	cells := strings.Split(s, "\t")
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	return strings.Join(cells, "\t")
}

// renewal shows what keeps certificates from being renewed.
func (o *overview) renewal(line tableLine) {
	if o.Renewal == nil {
		return
	}
	if t := o.Renewal.Timer; t != "" && t != "active" {
		line("renewal\t%s\tsystemctl enable --now %s", t, certTimer)
	}
	for _, l := range o.Renewal.Lines {
		switch {
		case l.Error != "":
			line("renewal\tfailed\t%s", l.Error)
		case l.StandIn:
			line("renewal\twaits\t%s is a stand-in; posthouse cert renew", l.Path)
		case !l.Renew.IsZero():
			line("renewal\tfrom %s\t%s", l.Renew.Local().Format(time.DateOnly), l.Path)
		}
	}
}
