package bounce

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// status is the body of message/delivery-status (RFC 3464 2): a group of fields for the message, one for each recipient.
func status(p Params) []byte {
	var b strings.Builder
	field(&b, "Reporting-MTA", "dns; "+p.Hostname)
	if id, err := smtp.DecodeXtext(p.Envelope.EnvID); err == nil && id != "" {
		field(&b, "Original-Envelope-Id", id)
	}
	field(&b, "Arrival-Date", p.Envelope.Arrived.Format(time.RFC1123Z))
	for _, f := range p.Failures {
		b.WriteString("\r\n")
		recipient(&b, f)
	}
	return []byte(b.String())
}

func recipient(b *strings.Builder, f Failure) {
	if kind, x, ok := strings.Cut(f.Rcpt.ORcpt, ";"); ok {
		if orig, err := smtp.DecodeXtext(x); err == nil && orig != "" {
			field(b, "Original-Recipient", kind+"; "+asciiAddress(orig))
		}
	}
	field(b, "Final-Recipient", addressType(f.Rcpt.Address)+"; "+asciiAddress(f.Rcpt.Address.String()))
	field(b, "Action", "failed")
	field(b, "Status", statusCode(f.Outcome))
	if h := f.Outcome.Host; h != "" {
		if ip, err := netip.ParseAddr(h); err == nil {
			h = literal(ip)
		}
		field(b, "Remote-MTA", "dns; "+h)
		field(b, "Diagnostic-Code", "smtp; "+f.Outcome.Reply().String())
	} else if f.Outcome.Text != "" {
		field(b, "Diagnostic-Code", "x-posthouse; "+f.Outcome.Reply().String())
	}
	if !f.Outcome.At.IsZero() {
		field(b, "Last-Attempt-Date", f.Outcome.At.Format(time.RFC1123Z))
	}
}

func literal(ip netip.Addr) string {
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

func addressType(a mta.Address) string {
	if a.IsASCII() {
		return "rfc822"
	}
	return "utf-8"
}

// asciiAddress leaves ASCII as it is; what is beyond it takes the form utf-8-addr-xtext (RFC 6533 3).
func asciiAddress(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7e }) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if c > ' ' && c <= '~' && c != '+' && c != '=' && c != '\\' {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}

// statusCode is the enhanced code, or the general one of the reply's class (RFC 3463 2).
func statusCode(o mta.Outcome) string {
	if o.Enhanced != "" {
		return o.Enhanced
	}
	if r := o.Reply(); r.Temporary() {
		return "4.0.0"
	}
	return "5.0.0"
}

// field writes one header field in printable ASCII, runs of blanks as one, folded at blanks, and inside a word where there is none in reach.
func field(b *strings.Builder, name, value string) {
	line := name + ": " + strings.Join(strings.Fields(smtp.Printable(value, false)), " ")
	least := len(name) + 2 // a field never begins with an empty line
	for len(line) > foldAt {
		cut := strings.LastIndexByte(line[:foldAt], ' ')
		if cut < least {
			if cut = strings.IndexByte(line[foldAt:], ' '); cut >= 0 {
				cut += foldAt
			}
		}
		if cut < 0 || cut > maxLine {
			if len(line) <= maxLine {
				break
			}
			cut = maxLine
			b.WriteString(line[:cut] + "\r\n")
			line, least = "\t"+line[cut:], 2
			continue
		}
		b.WriteString(line[:cut] + "\r\n")
		line, least = "\t"+line[cut+1:], 2
	}
	b.WriteString(line + "\r\n")
}
