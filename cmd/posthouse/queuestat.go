package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/control"
)

// ages are the upper bounds of the columns of `queue stat`; what is older is in a last one.
var ages = []time.Duration{
	5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour, 72 * time.Hour,
}

// stat counts messages by domain and age.
type stat struct {
	senders bool // by the sender's domain
	now     time.Time
	total   tally
	status  map[string]int
	oldest  time.Time
	domains map[string]*tally
}

// tally is how many messages there are, by age.
type tally struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
	Ages     []int `json:"ages"` // a number for each of ages, and one for what is older
}

func (t *tally) add(octets int64, column int) {
	if t.Ages == nil {
		t.Ages = make([]int, len(ages)+1)
	}
	t.Messages++
	t.Octets += octets
	t.Ages[column]++
}

func newQueueStat() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Count the messages in the queue by domain of the recipients and by age",
		Args:  cobra.NoArgs,
	}
	a, f := newAsker(cmd), addFilter(cmd)
	senders := cmd.Flags().Bool("senders", false, "count by domain of the sender")
	top := cmd.Flags().Int("top", 20, "show the `N` domains with the most messages; 0 = all")
	asJSON := cmd.Flags().Bool("json", false, "write a JSON object, with all domains")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := f.filter()
		if err != nil {
			return err
		}
		if *top < 0 {
			return &codedError{exitUsage, fmt.Errorf("--top: %d; allowed: 0 or more", *top)}
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		s := &stat{senders: *senders, now: time.Now(), status: map[string]int{}, domains: map[string]*tally{}}
		s.total.Ages = make([]int, len(ages)+1)
		if err := c.List(cmd.Context(), filter, s.message); err != nil {
			return asked(err)
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		switch {
		case *asJSON:
			err = s.json(out)
		case s.total.Messages == 0:
			_, err = fmt.Fprintln(out, nothing(filter))
		default:
			s.table(out, *top)
		}
		return asked(cmp.Or(err, out.Flush()))
	}
	return cmd
}

// message counts one, once for each domain that it is still for.
func (s *stat) message(m *control.Message) error {
	age := s.now.Sub(m.Arrived)
	column := len(ages)
	if i := slices.IndexFunc(ages, func(d time.Duration) bool { return age < d }); i >= 0 {
		column = i
	}
	s.total.add(m.Size, column)
	s.status[m.Status]++
	if s.oldest.IsZero() || m.Arrived.Before(s.oldest) {
		s.oldest = m.Arrived
	}
	names := map[string]bool{}
	if s.senders {
		names[domainOf(m.Sender)] = true
	} else {
		for _, r := range m.Waiting() {
			names[domainOf(r.Address)] = true
		}
	}
	for name := range names {
		t := s.domains[name]
		if t == nil {
			t = new(tally)
			s.domains[name] = t
		}
		t.add(m.Size, column)
	}
	return nil
}

func domainOf(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return strings.ToLower(address[i+1:])
	}
	return "<>" // the null sender
}

// row is a domain's tally.
type row struct {
	Domain string `json:"domain"`
	*tally
}

// rows are the domains, those with the most messages first.
func (s *stat) rows() []row {
	list := []row{}
	for name, t := range s.domains {
		list = append(list, row{name, t})
	}
	slices.SortFunc(list, func(a, b row) int { return cmp.Or(b.Messages-a.Messages, cmp.Compare(a.Domain, b.Domain)) })
	return list
}

func (s *stat) json(w io.Writer) error {
	bounds := []int{}
	for _, d := range ages {
		bounds = append(bounds, int(d.Seconds()))
	}
	return json.NewEncoder(w).Encode(struct {
		Bounds  []int          `json:"bounds"` // in seconds
		Total   tally          `json:"total"`
		Status  map[string]int `json:"status"`
		Oldest  time.Time      `json:"oldest,omitzero"`
		Domains []row          `json:"domains"`
	}{bounds, s.total, s.status, s.oldest, s.rows()})
}

func (s *stat) table(w io.Writer, top int) {
	line := func(name string, t *tally) {
		fmt.Fprintf(w, "%-30s %6d", printable(name), t.Messages)
		for _, n := range t.Ages {
			fmt.Fprintf(w, " %5d", n)
		}
		fmt.Fprintf(w, " %7s\n", octets(t.Octets))
	}
	fmt.Fprintf(w, "%-30s %6s", "DOMAIN", "ALL")
	for _, d := range ages {
		fmt.Fprintf(w, " %5s", "<"+config.FormatDuration(d))
	}
	fmt.Fprintf(w, " %5s %7s\n", "more", "SIZE")
	line("all", &s.total)
	rows := s.rows()
	shown := rows
	if top > 0 {
		shown = rows[:min(top, len(rows))]
	}
	for _, r := range shown {
		line(r.Domain, r.tally)
	}
	if n := len(rows) - len(shown); n > 0 {
		fmt.Fprintf(w, "and %s; --top 0 shows all\n", count(n, "more domain"))
	}
	var parts []string
	for _, st := range control.Statuses() {
		if n := s.status[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	fmt.Fprintf(w, "%s: %s; the oldest came in %s ago\n", count(s.total.Messages, "message"), strings.Join(parts, ", "), span(s.now.Sub(s.oldest)))
}
