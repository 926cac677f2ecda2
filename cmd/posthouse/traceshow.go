package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// shown are the fields that a line of a story tells in its own words, by event: a format in which {key} stands for a
// field, and what is in brackets is left out where a field in it is empty. Events that are not here show all they have.
var shown = map[string]string{
	"connected":      "from {client}[ ({name})] on {listener}",
	"login":          "{login} from {client}[ by {mech}]",
	"accepted":       "from {from}, {rcpts} recipients, {size} octets, {proto}[ {tls}][, client {client}][ ({name})][, login {login}]",
	"recipient":      "{to}",
	"rejected":       "at {stage}[ from {from}][ to {to}][, client {client}]: {reply}",
	"filtered":       "{filter} at {stage}: {verdict}[: {text}]",
	"filter-failed":  "{filter} at {stage}: {verdict}[: {err}]",
	"discarded":      "from {from}, by the filter {filter}",
	"delivered":      "{to} by {by}[ {address}][, {tls}][, after {delay}][: {reply}][ ({err})]",
	"deferred":       "{to}[ by {by}][ {address}], try {tries}, next at {next}[: {reply}][ ({err})]",
	"failed":         "{to}[ by {by}][ {address}][: {reply}][ ({err})]",
	"expanded":       "{to}: {members} here, {forwarded} forwarded[ as {child}][ from {from}]",
	"reported":       "to {to}, about {parent}: {failed} failed, {delayed} delayed, {succeeded} succeeded",
	"held":           "[{reason}][until {until}]",
	"postponed":      "{op}, until {next}: {err}",
	"dropped":        "{to}: nobody is left to tell",
	"finished":       "nothing is left to do",
	"closed":         "[{reason}]",
	"fault":          "at {stage}: {err}",
	"turned-away":    "{client}: {err}",
	"unreadable":     "until {next}: {err}",
	"tls-failed":     "{client}: {err}",
	"login-failed":   "{login} from {client}[ by {mech}]",
	"binding-failed": "{client}: {err}",
}

// text shows records as lines: the time, the message, what happened, to whom. What a stranger has chosen is made harmless.
func (t *tracer) text(out io.Writer) func(*record) error {
	return func(r *record) error {
		who := r.fields["id"]
		if who == "" {
			who = "session " + r.fields["session"]
		}
		_, err := fmt.Fprintf(out, "%s  %-20s  %-10s %s\n", moment(r.time), printable(who), printable(r.event), printable(r.words()))
		return err
	}
}

// words are the fields in a sentence.
func (r *record) words() string {
	if form, ok := shown[r.event]; ok {
		return strings.TrimSpace(r.fill(form))
	}
	var all []string
	for _, k := range slices.Sorted(maps.Keys(r.fields)) {
		if k != "id" && k != "session" {
			all = append(all, k+"="+r.fields[k])
		}
	}
	return strings.Join(all, " ")
}

// fill puts fields into a form.
func (r *record) fill(form string) string {
	var b strings.Builder
	for form != "" {
		switch form[0] {
		case '[':
			part, rest, _ := strings.Cut(form[1:], "]")
			if r.has(part) {
				b.WriteString(r.fill(part))
			}
			form = rest
		case '{':
			key, rest, _ := strings.Cut(form[1:], "}")
			b.WriteString(r.fields[key])
			form = rest
		default:
			b.WriteByte(form[0])
			form = form[1:]
		}
	}
	return b.String()
}

// has says whether all fields of a part of a form are there.
func (r *record) has(part string) bool {
	for {
		_, rest, ok := strings.Cut(part, "{")
		if !ok {
			return true
		}
		key, after, _ := strings.Cut(rest, "}")
		if r.fields[key] == "" {
			return false
		}
		part = after
	}
}
