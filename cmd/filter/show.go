package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/posthouse-mail/posthouse/filters/host"
)

// asked is which filter was asked.
type asked struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Summary string `json:"summary,omitempty"`
}

// writeOutcome writes one JSON object.
func writeOutcome(w io.Writer, filters []host.Status, o *host.Outcome, before []byte) error {
	all := struct {
		Filters []asked `json:"filters"`
		*host.Outcome
		Diff string `json:"diff,omitempty"`
	}{Outcome: o}
	for _, f := range filters {
		all.Filters = append(all.Filters, asked{f.Name, f.Version, f.Summary})
	}
	if o.Message != nil {
		all.Diff = diff(before, o.Message)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// showOutcome writes what a person reads: what each filter said, what became of the message, and what was changed.
func showOutcome(w io.Writer, filters []host.Status, o *host.Outcome, before []byte) error {
	out := bufio.NewWriter(w)
	for _, f := range filters {
		fmt.Fprintf(out, "%s %s: %s\n", f.Name, f.Version, f.Summary)
	}
	fmt.Fprintln(out)
	wide := [3]int{}
	for _, a := range o.Answers {
		for i, cell := range cells(a) {
			wide[i] = max(wide[i], len(cell))
		}
	}
	for _, a := range o.Answers {
		for i, cell := range cells(a) {
			fmt.Fprintf(out, "%-*s  ", wide[i], cell)
		}
		fmt.Fprintln(out, a.Took.Round(10*time.Microsecond))
		for _, line := range details(a) {
			fmt.Fprintf(out, "    %s\n", visible(line))
		}
	}
	if len(o.Answers) == 0 {
		fmt.Fprintln(out, "no filter cares for such a message: see roles")
	}
	fmt.Fprintln(out)
	showFate(out, o)
	if o.Message != nil {
		showChanges(out, o, before)
	}
	return out.Flush()
}

func showFate(out io.Writer, o *host.Outcome) {
	line := o.Fate
	if o.By != "" {
		line += " by " + o.By
	}
	if o.Reply != "" {
		line += " at " + o.Stage + ": " + o.Reply
	}
	fmt.Fprintln(out, visible(line))
	if o.Delay > 0 {
		fmt.Fprintf(out, "the client waits %s\n", o.Delay)
	}
	if o.Score != 0 {
		fmt.Fprintf(out, "score %.2f\n", o.Score)
	}
	if o.Hold != "" {
		fmt.Fprintln(out, "held:", visible(o.Hold))
	}
}

// showChanges tells who gets the message, and what was changed in it.
func showChanges(out io.Writer, o *host.Outcome, before []byte) {
	fmt.Fprintf(out, "from <%s>\n", visible(o.Sender))
	for _, r := range o.Recipients {
		folder := ""
		if r.Folder != "" {
			folder = " (folder " + r.Folder + ")"
		}
		fmt.Fprintln(out, visible("to <"+r.Address+">"+folder))
	}
	text := diff(before, o.Message)
	if text == "" {
		text = "the message is unchanged\n"
	}
	fmt.Fprintln(out)
	for l := range strings.Lines(text) {
		fmt.Fprintln(out, visible(strings.TrimRight(l, "\r\n")))
	}
}

func cells(a host.Answer) [3]string {
	return [3]string{visible(strings.TrimSpace(a.Stage + " " + a.Recipient)), a.Filter, a.Verdict}
}

func details(a host.Answer) (all []string) {
	add := func(what, text string) {
		if text != "" {
			all = append(all, what+text)
		}
	}
	add("failure: ", a.Failure)
	add("reply: ", a.Reply)
	if a.Reply == "" {
		add("text: ", a.Text)
	}
	if a.Score != 0 {
		add("score: ", fmt.Sprintf("%.2f", a.Score))
	}
	if a.Delay > 0 {
		add("delay: ", a.Delay.String())
	}
	for _, n := range a.Notes {
		add("note: ", n)
	}
	for _, e := range a.Edits {
		add("", e)
	}
	return all
}

// visible is a line that does nothing to a terminal.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
