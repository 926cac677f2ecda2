package bounce

import (
	"bytes"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

const (
	// maxHeader is how much of the message's header comes back.
	maxHeader = 64 << 10
	// maxFull is the largest message that comes back whole.
	maxFull = 256 << 10

	maxLine = 998 // RFC 5322 2.1.1, without CR LF
)

// original is what comes back of the message, and what the report says of it.
type original struct {
	bytes     []byte
	full      bool
	subject   string // printable, "" when it has none that can be shown
	messageID string // with its angle brackets
}

// readOriginal returns what comes back of the message: all of it where the sender asked for that, something has failed
// (RFC 3461 4.3), it is small, and it can stand in a report as it is (an encoded message/rfc822 is not allowed: RFC 2046
// 5.2.1); else its header.
func readOriginal(p Params) (original, error) {
	limit := int64(maxHeader)
	if p.Envelope.Ret == "FULL" && p.failed() && p.Size <= maxFull && !p.Envelope.RequireTLS { // RFC 8689 5
		limit = maxFull
	}
	b, err := io.ReadAll(io.LimitReader(p.Message, limit))
	if err != nil {
		return original{}, err
	}
	header := headerOf(b)
	o := original{bytes: header[:min(len(header), maxHeader)]}
	o.describe(header)
	// A header beyond ASCII makes it message/global, which is for those who have SMTPUTF8.
	if limit == maxFull && int64(len(b)) == p.Size && canBe8Bit(b) && (isASCII(header) || p.SMTPUTF8() && utf8.Valid(header)) {
		o.bytes, o.full = b, true
	}
	return o, nil
}

// headerOf cuts the body off.
func headerOf(b []byte) []byte {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return nil
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+2]
	}
	return b
}

func (o original) part(wantUTF8 bool) part {
	global := !isASCII(headerOf(o.bytes)) && wantUTF8 && utf8.Valid(o.bytes)
	switch {
	case o.full && global:
		return part{"message/global", "Undelivered message", o.bytes, true}
	case o.full:
		return part{"message/rfc822", "Undelivered message", o.bytes, true}
	case global:
		return part{"message/global-headers", "Header of the message", o.bytes, true}
	}
	return part{"text/rfc822-headers; charset=utf-8", "Header of the message", o.bytes, false}
}

// describe finds the subject and the message id. What cannot be read is left out.
func (o *original) describe(header []byte) {
	for f, err := range message.Fields(bytes.NewReader(header), int64(len(header)), maxFull) {
		if err != nil {
			return
		}
		_, value, _ := strings.Cut(string(header[f.Off:f.Off+f.Len]), ":")
		value = strings.Join(strings.Fields(value), " ")
		switch {
		case strings.EqualFold(f.Name, "Subject") && o.subject == "":
			o.subject = shown(value)
		case strings.EqualFold(f.Name, "Message-ID") && o.messageID == "" && isMessageID(value):
			o.messageID = value
		}
	}
}

// maxSubject is how many characters of the message's subject the report's own has, and its text.
const maxSubject = 60

func shown(value string) string {
	var dec mime.WordDecoder
	value, err := dec.DecodeHeader(value)
	if err != nil || !utf8.ValidString(value) || strings.Contains(value, "=?") { // nor what would be decoded once more
		return ""
	}
	value = strings.Join(strings.Fields(smtp.Printable(value, true)), " ")
	if r := []rune(value); len(r) > maxSubject {
		value = strings.TrimSpace(string(r[:maxSubject-1])) + "…"
	}
	return value
}

// isMessageID checks that an id can stand in a field of the report: nothing but printable ASCII between the brackets.
func isMessageID(s string) bool {
	return len(s) > 2 && len(s) <= 250 && s[0] == '<' && strings.IndexByte(s, '>') == len(s)-1 &&
		!strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// isPlain says whether b can stand in a 7-bit part as it is (RFC 2045 2.7).
func isPlain(b []byte) bool { return isASCII(b) && canBe8Bit(b) }

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(c rune) bool { return c >= utf8.RuneSelf })
}

// canBe8Bit says whether b can stand in an 8-bit part (RFC 2045 2.8): no NUL, CR and LF only together, short lines.
func canBe8Bit(b []byte) bool {
	start := 0
	for i, c := range b {
		switch {
		case c == 0:
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
		_, err := w.Write(b)
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write(b); err != nil {
		return err
	}
	return q.Close()
}
