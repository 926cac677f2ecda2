package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// lines writes one explanation, a name and a text a line.
type lines struct{ w io.Writer }

func (l lines) line(name, format string, args ...any) {
	fmt.Fprintf(l.w, "%-11s %s\n", name, printable(fmt.Sprintf(format, args...)))
}

// optional is line where there is something to say.
func (l lines) optional(name, text string) {
	if text != "" {
		l.line(name, "%s", text)
	}
}

// show writes the explanation for a person.
func (x *explanation) show(w io.Writer) {
	l := lines{w}
	l.line("to", "%s", x.Address)
	if x.LookedUp != strings.Trim(x.Address, "<>") {
		l.line("that is", "%s", x.LookedUp)
	}
	if x.From != nil {
		l.line("from", "%s", sender(*x.From))
	}
	if d := x.Domain; d != nil {
		l.line("domain", "%s is ours: %s mailboxes%s%s", d.Name, d.Mailboxes, prefixed(", aliases in ", d.Aliases), prefixed(", catch_all ", d.CatchAll))
	} else {
		l.line("domain", "not ours")
	}
	l.line("accepted", "%s", map[string]string{
		"anybody": "from anybody", "users": "from users who log in, and from trusted networks", "nobody": "no: " + x.Refusal,
		"verified": "from anybody, where the host that it goes to takes the recipient: it is asked",
	}[x.Accepted])
	l.optional("found as", x.Found)
	l.line("goes to", "%s", x.goesTo(len(x.Members)))
	for _, m := range x.Members {
		l.line("  member", "%s: %s", m.Member, m.goesTo(0))
	}
	l.optional("forwarded", prefixed("with the sender ", x.Sender))
	for i := range x.Destinations {
		x.Destinations[i].show(l)
	}
	x.Limits.show(l, x.Role)
	if len(x.Filters) == 0 {
		l.line("filters", "none sees it")
	}
	for _, f := range x.Filters {
		l.line("filter", "%s%s%s", f.Name, prefixed(", ", f.State), prefixed(": ", strings.Join(f.Stages, ", ")))
	}
	for _, n := range x.Notes {
		l.line("note", "%s", n)
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func (t *target) goesTo(members int) string {
	cause := prefixed(" (", t.Cause)
	if cause != "" {
		cause += ")"
	}
	switch t.Decision {
	case route.Mailbox.String():
		if t.Account != "" {
			return "the machine's user " + t.Account + ", and as ~/.forward says there" + prefixed(", extension ", t.Folder)
		}
		quota := ""
		if t.Quota > 0 {
			quota = ", quota " + config.Size(t.Quota).String()
		}
		return "the mailbox of " + t.Login + prefixed(" at ", t.Path) + prefixed(", folder ", t.Folder) + quota + cause
	case route.Program.String():
		return "the program " + t.Program + " of the configuration" + wayed(t.Way)
	case route.Alias.String():
		return count(members, "member")
	case route.Remote.String():
		return t.Destination + wayed(t.Way)
	case route.Discard.String():
		return "nobody: it is thrown away" + wayed(t.Way)
	case route.Refused.String():
		return "nobody: " + t.Reply + cause
	}
	return "the queue, until this is mended: " + t.Reply + cause
}

func wayed(way string) string {
	switch way {
	case "":
		return ""
	case route.ByMX:
		return ", by its MX records"
	}
	return ", by " + way
}

func (d *destination) show(l lines) {
	fmt.Fprintln(l.w)
	l.line("destination", "%s, for %s%s", d.Name, several(d.For), wayed(d.Way))
	if d.Site != "" && d.Site != d.Name {
		l.line("  site", "%s", d.Site)
	}
	if d.Reply != "" {
		cause := prefixed(" (", d.Cause)
		if cause != "" {
			cause += ")"
		}
		l.line("  result", "%s%s", d.Reply, cause)
	}
	switch p := d.MTASTS; {
	case p != nil:
		l.line("  mta-sts", "%s, for %s; valid for %s", p.Mode, several(p.MX), span(time.Duration(p.MaxAge)*time.Second))
	case d.STSError != "":
		l.line("  mta-sts", "announced, and not in force: %s", d.STSError)
	case d.stsAsked:
		l.line("  mta-sts", "no policy")
	}
	for i := range d.Hosts {
		d.Hosts[i].show(l)
	}
	if q := d.Queue; q != nil {
		l.line("  queue", "%s, window %d, connections %d, queued %d, waiting %d%s", q.State, q.Window, q.Connections, q.Queued, q.Waiting, prefixed(": ", q.Reason))
	}
}

func (h *hostSeen) show(l lines) {
	name := "  host"
	if h.Preference != nil {
		name = fmt.Sprintf("  mx %d", *h.Preference)
	}
	l.line(name, "%s%s", h.Name, prefixed(" ", strings.Join(h.Addresses, " ")))
	switch {
	case h.Unused != "":
		l.line("", "  not used: %s", h.Unused)
		return
	case h.Problem != "":
		l.line("", "  cannot be used: %s", h.Problem)
	}
	if h.TLS != "" {
		l.line("", "  TLS: %s", h.tls())
	}
	if h.DANE != "" {
		l.line("", "  DANE: %s", h.DANE)
	}
	for _, r := range h.TLSA {
		l.line("", "    TLSA %s", r)
	}
}

// tls says what a connection must be.
func (h *hostSeen) tls() string {
	switch {
	case h.By == "dane" && h.TLS == "verify":
		return "a certificate that DANE and a known authority vouch for, or no delivery"
	case h.By == "dane":
		return "a certificate that DANE vouches for, or no delivery"
	case h.By == "mta-sts":
		return "a certificate of a known authority with the host's name, or no delivery (MTA-STS)"
	case h.TLS == "verify":
		return "a certificate of a known authority with the host's name, or no delivery (configuration)"
	case h.TLS == "encrypt":
		return "any certificate, or no delivery"
	case h.TLS == "opportunistic":
		return "if the host offers it, with any certificate"
	}
	return "never"
}

func (l *limits) show(out lines, role string) {
	fmt.Fprintln(out.w)
	duration := func(s int) string { return config.FormatDuration(time.Duration(s) * time.Second) }
	var rates []string
	if l.MessageRate != "" {
		rates = append(rates, l.MessageRate+" messages")
	}
	if l.RecipientRate != "" {
		rates = append(rates, l.RecipientRate+" recipients")
	}
	rate := prefixed(", ", strings.Join(rates, " and "))
	if rate != "" {
		rate += map[bool]string{true: " a login", false: " a client"}[role == "submission"]
	}
	out.line("limits", "role %s: %s a message, %d recipients%s", role, config.Size(l.MessageSize), l.Recipients, rate)
	notice := ""
	if l.DelayNotice > 0 {
		notice = ", its sender told of the delay after " + duration(l.DelayNotice)
	}
	out.line("", "tried for %s%s; tries %s to %s apart", duration(l.Lifetime), notice, duration(l.RetryFirst), duration(l.RetryMax))
	out.line("", "at most %d transactions at once with a destination", l.MaxPerDestination)
}
