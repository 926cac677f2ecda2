package bounce

import (
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

const (
	foldAt   = 76
	maxShown = 100 // recipients in the text for a person; the status has them all
)

// subject says the worst that the report has, and which message it is about.
func subject(p Params, orig original) string {
	s := map[Action]string{
		Failed: "Not delivered", Delayed: "Delayed", Delivered: "Delivered", Relayed: "Handed on", Expanded: "Sent to several",
	}[p.worst()]
	if !p.toSender() {
		s = "For the postmaster: not delivered"
	}
	if orig.subject == "" {
		return s
	}
	return s + ": " + mime.QEncoding.Encode("utf-8", orig.subject)
}

// worst is the action that matters most.
func (p *Params) worst() Action {
	for _, a := range []Action{Failed, Delayed, Relayed, Expanded} {
		if len(p.of(a)) > 0 {
			return a
		}
	}
	return Delivered
}

func (p *Params) toSender() bool { return p.To.IsNull() || p.To == p.Envelope.Sender }

// personText is for a person: what happened, why, and what to do; then the recipients, with what the servers said.
func personText(p Params, orig original) []byte {
	var b strings.Builder
	for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
		if list := p.of(a); len(list) > 0 {
			section(&b, &p, orig, a, list)
		}
	}
	wrap(&b, "", fmt.Sprintf("This report was made by the mail system at %s, where the message has the number %s. A part for "+
		"programs and %s of your message are attached. The postmaster there helps: <postmaster@%s>.",
		p.Hostname, p.Envelope.ID, map[bool]string{true: "a copy", false: "the header"}[orig.full], p.Hostname))
	return []byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))
}

// section is a paragraph about all recipients of one kind, and then the recipients. Where there is one alone the
// paragraph says it all.
func section(b *strings.Builder, p *Params, orig original, a Action, list []Rcpt) {
	what := p.what(orig)
	whom := fmt.Sprintf("%d recipients", len(list))
	alone := len(list) == 1
	if alone {
		whom = "<" + list[0].Address.String() + ">"
	}
	why := ""
	if alone {
		why = because(list[0])
	} else if a == Failed || a == Delayed {
		why = " The reasons are below."
	}
	switch a {
	case Failed:
		wrap(b, "", fmt.Sprintf("%s could not be delivered to %s%s It will not be tried again.", what, whom, sentence(why)))
	case Delayed:
		wrap(b, "", fmt.Sprintf("%s has not yet been delivered to %s%s It is tried again and again until %s: you need not send it "+
			"again, and you get another report only if it fails.", what, whom, sentence(why), date(list[0].Until)))
	case Delivered:
		wrap(b, "", fmt.Sprintf("%s was delivered to %s. This report comes because you asked for it.", what, whom))
	case Relayed:
		wrap(b, "", fmt.Sprintf("%s was handed on for %s to another mail system, which does not report when it delivers: this is "+
			"the last that you hear of it, unless it fails. This report comes because you asked for it.", what, whom))
	case Expanded:
		wrap(b, "", fmt.Sprintf("%s was sent on to those for whom %s stands. Whether each of them got it is not reported, "+
			"unless it fails. This report comes because you asked for it.", what, whom))
	}
	if alone && a == Failed {
		if do := explained(list[0]).do; do != "" {
			wrap(b, "", do)
		}
	}
	for i, r := range list {
		if i == maxShown {
			wrap(b, "  ", fmt.Sprintf("... and %d more, whom the attached report lists.", len(list)-maxShown))
			break
		}
		r.show(b, alone)
	}
}

// what names the message.
func (p *Params) what(orig original) string {
	s := "Your message"
	if !p.toSender() {
		from := "<" + p.Envelope.Sender.String() + ">"
		if p.Envelope.Sender.IsNull() {
			from = "<> (it is a report itself)"
		}
		s = "A message from " + from
	}
	if orig.subject != "" {
		s += ` "` + orig.subject + `"`
	}
	return s + " of " + date(p.Envelope.Arrived)
}

func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04 -0700") }

// sentence ends what stands before it.
func sentence(more string) string {
	if strings.HasPrefix(more, ",") {
		return more
	}
	return "." + more
}

// because is why one recipient failed or waits.
func because(r Rcpt) string {
	switch {
	case r.Deadline:
		return " by the time that you had set, and so comes back to you."
	case r.Expired:
		return " in all the time that was tried."
	case r.Action == Failed || r.Action == Delayed && !r.Outcome.At.IsZero():
		return ", because " + explained(r).why + "."
	}
	return ""
}

// explained is the reason of one recipient.
func explained(r Rcpt) reason {
	x := explain(r.Outcome)
	if r.Expired {
		x = reason{"its time was over before it could be delivered", theirFault}
	}
	return x.at(r.Address)
}

// show lists a recipient. Where it is not alone, its reason stands here.
func (r Rcpt) show(b *strings.Builder, alone bool) {
	fmt.Fprintf(b, "  <%s>\n", r.Address)
	if was := originalAddress(r.ORcpt); was != "" && !strings.EqualFold(was, r.Address.String()) {
		wrapTight(b, "    ", "You had written to <"+smtp.Printable(was, true)+">.")
	}
	x := explained(r)
	switch {
	case alone:
	case r.Action == Failed:
		wrapTight(b, "    ", capital(x.why)+". "+x.do)
	case r.Action == Delayed && !r.Outcome.At.IsZero():
		wrapTight(b, "    ", capital(x.why)+".")
	}
	r.quote(b)
	b.WriteString("\n")
}

// quote gives the words of the server that spoke, or our own.
func (r Rcpt) quote(b *strings.Builder) {
	o := r.Outcome
	switch {
	case r.Expired:
		wrapTight(b, "    ", "The last reason was: "+smtp.Printable(r.Last, true))
	case r.Action == Delivered || r.Action == Expanded || o.Host == "" && o.Text == "":
	case o.Host != "":
		wrapTight(b, "    ", smtp.Printable(o.Host, true)+" said: "+smtp.Printable(o.Reply().String(), true))
	default:
		wrapTight(b, "    ", smtp.Printable(o.Reply().String(), true))
	}
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// originalAddress is what ORCPT says (RFC 3461 4.2), "" when it says nothing that can be read.
func originalAddress(orcpt string) string {
	kind, x, ok := strings.Cut(orcpt, ";")
	if !ok {
		return ""
	}
	if strings.EqualFold(kind, "utf-8") {
		return smtp.UnicodeAddress(x)
	}
	s, err := smtp.DecodeXtext(x)
	if err != nil || !utf8.ValidString(s) {
		return ""
	}
	return s
}

// wrap writes a paragraph.
func wrap(b *strings.Builder, indent, s string) {
	wrapTight(b, indent, s)
	b.WriteString("\n")
}

// wrapTight writes lines of at most foldAt characters, longer only where one word is.
func wrapTight(b *strings.Builder, indent, s string) {
	n := 0
	for word := range strings.FieldsSeq(s) {
		w := utf8.RuneCountInString(word)
		switch {
		case n == 0:
			b.WriteString(indent)
			n = len(indent)
		case n+1+w > foldAt:
			b.WriteString("\n" + indent)
			n = len(indent)
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += w
	}
	b.WriteString("\n")
}

// address is one in the status: as it is where that is UTF-8.
func address(s string, global bool) string {
	if global {
		return s
	}
	return smtp.ASCIIAddress(s)
}

func addressType(a mta.Address) string {
	if a.IsASCII() {
		return "rfc822"
	}
	return "utf-8"
}
