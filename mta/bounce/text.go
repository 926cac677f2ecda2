package bounce

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

const (
	maxLine  = 998 // RFC 5322 2.1.1, without CR LF
	foldAt   = 76
	maxShown = 100 // recipients in the text for a person; the status has them all
)

// personText says what has failed, why, and what to do.
func personText(p Params) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\n\n", p.Hostname)
	if p.To.IsNull() || p.To == p.Envelope.Sender {
		b.WriteString("Your message")
	} else {
		fmt.Fprintf(&b, "A message from %s", senderName(p))
	}
	fmt.Fprintf(&b, " of %s could not be delivered to\n%s. It will not be tried again.\n\n",
		p.Envelope.Arrived.Format(time.RFC1123Z), count(len(p.Failures)))
	for i, f := range p.Failures {
		if i == maxShown {
			fmt.Fprintf(&b, "... and %d more, which the attached report lists.\n\n", len(p.Failures)-maxShown)
			break
		}
		personFailure(&b, f)
	}
	b.WriteString("Please check the address. If it is right, the words above tell why it was not\n" +
		"accepted; the recipient, or the postmaster there, can help with them.\n" +
		"A report for programs and a part of your message are attached.\n\n" +
		"If you need help here, write to <postmaster@" + p.Hostname + "> and mention\n" +
		"message " + string(p.Envelope.ID) + ".\n")
	return []byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))
}

func personFailure(b *strings.Builder, f Failure) {
	fmt.Fprintf(b, "  <%s>\n", f.Rcpt.Address)
	if f.Expired {
		b.WriteString("    It was tried again and again, until the message was too old. The last reason:\n")
	}
	said := "    "
	if f.Outcome.Host != "" {
		said = "    " + smtp.Printable(f.Outcome.Host, true) + " said: "
	}
	r := f.Outcome.Reply()
	lines := strings.Split(r.Text, "\n")
	head := fmt.Sprintf("%03d", r.Code)
	if r.Enhanced != "" {
		head += " " + r.Enhanced
	}
	fmt.Fprintf(b, "%s%s %s\n", said, head, smtp.Printable(lines[0], true))
	for _, l := range lines[1:] {
		fmt.Fprintf(b, "      %s\n", smtp.Printable(l, true))
	}
	b.WriteString("\n")
}

func senderName(p Params) string {
	if p.Envelope.Sender.IsNull() {
		return "<> (a report)"
	}
	return "<" + p.Envelope.Sender.String() + ">"
}

func count(n int) string {
	if n == 1 {
		return "this recipient"
	}
	return fmt.Sprintf("these %d recipients", n)
}

// isPlain says whether b can stand in a 7-bit part as it is: ASCII without NUL, CR and LF only together, short lines
// (RFC 2045 2.7).
func isPlain(b []byte) bool {
	start := 0
	for i, c := range b {
		switch {
		case c >= 0x80 || c == 0:
			return false
		case c == '\n':
			if i == 0 || b[i-1] != '\r' || i-1-start > maxLine {
				return false
			}
			start = i + 1
		case c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return false
		}
	}
	return len(b)-start <= maxLine
}

func writeBody(w io.Writer, b []byte, plain bool) error {
	if plain {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write(b); err != nil {
		return err
	}
	return q.Close()
}
