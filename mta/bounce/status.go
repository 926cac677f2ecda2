package bounce

import (
	"net/netip"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// status is the body of message/delivery-status (RFC 3464 2), or of message/global-delivery-status (RFC 6533 4) where the
// report's receiver has an address beyond ASCII: a group of fields for the message, one for each recipient.
func status(p Params) []byte {
	f := &fields{utf8: p.SMTPUTF8()}
	f.add("Reporting-MTA", "dns; "+p.Hostname)
	if id, err := smtp.DecodeXtext(p.Envelope.EnvID); err == nil && id != "" {
		f.add("Original-Envelope-Id", id)
	}
	f.add("Arrival-Date", p.Envelope.Arrived.Format(time.RFC1123Z))
	for _, r := range p.Rcpts {
		f.b.WriteString("\r\n")
		f.recipient(r)
	}
	return []byte(f.b.String())
}

func (f *fields) recipient(r Rcpt) {
	if was := originalAddress(r.ORcpt); was != "" {
		kind, _, _ := strings.Cut(r.ORcpt, ";")
		f.add("Original-Recipient", kind+"; "+address(was, f.utf8))
	}
	f.add("Final-Recipient", addressType(r.Address)+"; "+address(r.Address.String(), f.utf8))
	f.add("Action", string(r.Action))
	f.add("Status", statusCode(r))
	if h := r.Outcome.Host; h != "" {
		if ip, err := netip.ParseAddr(h); err == nil {
			h = literal(ip)
		}
		f.add("Remote-MTA", "dns; "+h)
		f.add("Diagnostic-Code", "smtp; "+r.Outcome.Reply().String())
	} else if r.Outcome.Text != "" {
		f.add("Diagnostic-Code", "x-posthouse; "+r.Outcome.Reply().String())
	}
	if !r.Outcome.At.IsZero() {
		f.add("Last-Attempt-Date", r.Outcome.At.Format(time.RFC1123Z))
	}
	if r.Action == Delayed && !r.Until.IsZero() {
		f.add("Will-Retry-Until", r.Until.Format(time.RFC1123Z))
	}
}

func literal(ip netip.Addr) string {
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

// statusCode is the enhanced code where it is of the action's class (RFC 3463 2), or that class's general one.
func statusCode(r Rcpt) string {
	class := map[Action]string{Failed: "5", Delayed: "4"}[r.Action]
	if class == "" {
		class = "2"
	}
	code := r.Outcome.Enhanced
	if strings.HasPrefix(code, class+".") {
		return code
	}
	if _, rest, ok := strings.Cut(code, "."); ok && class != "2" {
		return class + "." + rest
	}
	if r.Action == Delayed {
		return "4.4.7"
	}
	return class + ".0.0"
}

// fields writes header fields.
type fields struct {
	b    strings.Builder
	utf8 bool
}

// add writes one field in printable characters, runs of blanks as one, folded at blanks, and inside a word where there is
// none in reach.
func (f *fields) add(name, value string) {
	line := name + ": " + strings.Join(strings.Fields(smtp.Printable(value, f.utf8)), " ")
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
			cut = runeStart(line, maxLine)
			f.b.WriteString(line[:cut] + "\r\n")
			line, least = "\t"+line[cut:], 2
			continue
		}
		f.b.WriteString(line[:cut] + "\r\n")
		line, least = "\t"+line[cut+1:], 2
	}
	f.b.WriteString(line + "\r\n")
}

// runeStart is the last place up to n where a character begins.
func runeStart(s string, n int) int {
	for n > 1 && s[n]&0xc0 == 0x80 {
		n--
	}
	return n
}
