package bounce

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

const (
	// maxHeader is how much of the message's header comes back.
	maxHeader = 64 << 10
	// maxFull is the largest message that comes back whole.
	maxFull = 256 << 10
)

// ErrNoSender says that the message has the null sender and no other receiver of the report was named: nobody is told
// (RFC 5321 6.1).
var ErrNoSender = errors.New("report to the null sender")

// Failure is one recipient that the report tells of.
type Failure struct {
	Rcpt    mta.Recipient
	Outcome mta.Outcome // Text is shown to the sender, Cause is not
	Expired bool        // it was tried again until the message was too old
}

// Params is what a report is made of.
type Params struct {
	ID       mta.ID        // of the report
	Hostname string        // of this host
	Now      time.Time     // becomes the Date
	To       mta.Address   // who gets the report; the zero Address = the message's sender
	Envelope *mta.Envelope // of the message
	Failures []Failure     // at least one
	Message  io.Reader     // the message as its receivers would see it; read once, and not to its end
	Size     int64         // of Message, in octets
}

// SMTPUTF8 says whether the report needs that extension on its way (RFC 6531).
func (p *Params) SMTPUTF8() bool { return !p.receiver().IsASCII() }

func (p *Params) receiver() mta.Address {
	if p.To.IsNull() {
		return p.Envelope.Sender
	}
	return p.To
}

// Build writes the report, lines ending in CR LF. Its errors are ErrNoSender, and those of reading Message and of w.
func Build(w io.Writer, p Params) error {
	to := p.receiver()
	if to.IsNull() {
		return ErrNoSender
	}
	if len(p.Failures) == 0 {
		return errors.New("report without a recipient to tell of")
	}
	original, full, err := readOriginal(p)
	if err != nil {
		return fmt.Errorf("read message %s: %w", p.Envelope.ID, err)
	}
	out := &onceFailed{w: w}
	m := multipart.NewWriter(out)
	writeHeader(out, p, to, m.Boundary())
	writePart(m, "text/plain; charset=utf-8", "Notification", personText(p), out)
	writePart(m, "message/delivery-status", "Delivery report", status(p), out)
	if full {
		writePart(m, "message/rfc822", "Undelivered message", original, out)
	} else {
		writePart(m, "text/rfc822-headers; charset=utf-8", "Header of the undelivered message", original, out)
	}
	if err := m.Close(); err != nil {
		return err
	}
	return out.err
}

func writeHeader(w io.Writer, p Params, to mta.Address, boundary string) {
	fmt.Fprintf(w, "Date: %s\r\n", p.Now.Format(time.RFC1123Z))
	fmt.Fprintf(w, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", p.Hostname)
	fmt.Fprintf(w, "To: <%s>\r\n", to)
	fmt.Fprint(w, "Subject: Your message could not be delivered\r\n")
	fmt.Fprintf(w, "Message-ID: <%s@%s>\r\n", p.ID, p.Hostname)
	fmt.Fprint(w, "Auto-Submitted: auto-replied\r\n") // RFC 3834 5
	fmt.Fprint(w, "MIME-Version: 1.0\r\n")
	fmt.Fprintf(w, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", boundary)
}

// writePart writes one part, as it is where that is legal 7-bit text, else as quoted-printable.
func writePart(m *multipart.Writer, contentType, description string, body []byte, out *onceFailed) {
	h := textproto.MIMEHeader{}
	h.Set("Content-Type", contentType)
	h.Set("Content-Description", description)
	plain := isPlain(body)
	if !plain {
		h.Set("Content-Transfer-Encoding", "quoted-printable")
	}
	part, err := m.CreatePart(h)
	if err == nil {
		err = writeBody(part, body, plain)
	}
	if err != nil && out.err == nil {
		out.err = err
	}
}

// readOriginal returns what comes back of the message: all of it where the sender asked for that, it is small, and it
// can stand in a 7-bit message (an encoded message/rfc822 is not allowed: RFC 2046 5.2.1); else its header.
func readOriginal(p Params) (b []byte, full bool, err error) {
	limit := int64(maxHeader)
	if p.Envelope.Ret == "FULL" && p.Size <= maxFull {
		limit = maxFull
	}
	b, err = io.ReadAll(io.LimitReader(p.Message, limit))
	if err != nil {
		return nil, false, err
	}
	if limit == maxFull && int64(len(b)) == p.Size && isPlain(b) {
		return b, true, nil
	}
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return nil, false, nil
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		b = b[:i+2]
	}
	return b[:min(len(b), maxHeader)], false, nil
}

// onceFailed keeps the first error of w and writes nothing after it.
type onceFailed struct {
	w   io.Writer
	err error
}

func (o *onceFailed) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	o.err = err
	return n, err
}
