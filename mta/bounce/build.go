package bounce

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrNoSender says that the message has the null sender and no other receiver of the report was named: nobody is told
// (RFC 5321 6.1).
var ErrNoSender = errors.New("report to the null sender")

// Action is what happened to a recipient (RFC 3464 2.3.3).
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"   // it is still being tried
	Delivered Action = "delivered" // it is in the mailbox
	Relayed   Action = "relayed"   // another host has it, and will not report
	Expanded  Action = "expanded"  // the address stands for several others, which have it
)

// Rcpt is one recipient that the report tells of.
type Rcpt struct {
	mta.Recipient
	Action   Action
	Outcome  mta.Outcome // Text is shown to the sender, Cause is not
	Expired  bool        // of a failure: it was tried until its time was over
	Deadline bool        // ... which the sender had set
	Last     string      // ... the last reason
	Until    time.Time   // of a delay: when trying ends
}

// Params is what a report is made of.
type Params struct {
	ID       mta.ID        // of the report
	Hostname string        // of this host
	Now      time.Time     // becomes the Date
	To       mta.Address   // who gets the report; the zero Address = the message's sender
	Envelope *mta.Envelope // of the message
	Rcpts    []Rcpt        // at least one
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

// failed says whether the report tells of a failure.
func (p *Params) failed() bool { return len(p.of(Failed)) > 0 }

// of returns the recipients with an action.
func (p *Params) of(a Action) (out []Rcpt) {
	for _, r := range p.Rcpts {
		if r.Action == a {
			out = append(out, r)
		}
	}
	return out
}

// Build writes the report, lines ending in CR LF; eightBit says that there is 8-bit content in it. Its errors are
// ErrNoSender, and those of reading Message and of w.
func Build(w io.Writer, p Params) (eightBit bool, err error) {
	to := p.receiver()
	if to.IsNull() {
		return false, ErrNoSender
	}
	if len(p.Rcpts) == 0 {
		return false, errors.New("report without a recipient to tell of")
	}
	orig, err := readOriginal(p)
	if err != nil {
		return false, fmt.Errorf("read message %s: %w", p.Envelope.ID, err)
	}
	utf8 := p.SMTPUTF8()
	out := &onceFailed{w: w}
	m := multipart.NewWriter(out)
	parts := []part{
		{"text/plain; charset=utf-8", "Notification", personText(p, orig), utf8},
		{"message/delivery-status", "Delivery report", status(p), false},
		orig.part(utf8),
	}
	if utf8 {
		parts[1].contentType, parts[1].asItIs = "message/global-delivery-status", true
	}
	for _, x := range parts {
		eightBit = eightBit || x.asItIs && !isASCII(x.body)
	}
	writeHeader(out, p, to, orig, m.Boundary(), eightBit)
	for _, x := range parts {
		x.write(m, out)
	}
	if err := m.Close(); err != nil {
		return false, err
	}
	return eightBit, out.err
}

func writeHeader(w io.Writer, p Params, to mta.Address, orig original, boundary string, eightBit bool) {
	fmt.Fprintf(w, "Date: %s\r\n", p.Now.Format(time.RFC1123Z))
	fmt.Fprintf(w, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", p.Hostname)
	fmt.Fprintf(w, "To: <%s>\r\n", to)
	fmt.Fprintf(w, "Subject: %s\r\n", subject(p, orig))
	fmt.Fprintf(w, "Message-ID: <%s@%s>\r\n", p.ID, p.Hostname)
	if orig.messageID != "" { // so that a mail program shows the report beside what it is about
		fmt.Fprintf(w, "In-Reply-To: %s\r\nReferences: %s\r\n", orig.messageID, orig.messageID)
	}
	fmt.Fprint(w, "Auto-Submitted: auto-replied\r\n") // RFC 3834 5: no program answers this
	fmt.Fprint(w, "X-Auto-Response-Suppress: All\r\n")
	fmt.Fprint(w, "MIME-Version: 1.0\r\n")
	if eightBit {
		fmt.Fprint(w, "Content-Transfer-Encoding: 8bit\r\n")
	}
	fmt.Fprintf(w, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", boundary)
}

// part is one part of the report. One that is not to stay as it is becomes quoted-printable, unless it is 7-bit text.
type part struct {
	contentType, description string
	body                     []byte
	asItIs                   bool
}

func (x part) write(m *multipart.Writer, out *onceFailed) {
	h := textproto.MIMEHeader{}
	h.Set("Content-Type", x.contentType)
	h.Set("Content-Description", x.description)
	plain := isPlain(x.body)
	if !plain && x.asItIs && canBe8Bit(x.body) {
		plain = true
		h.Set("Content-Transfer-Encoding", "8bit")
	} else if !plain {
		h.Set("Content-Transfer-Encoding", "quoted-printable")
	}
	w, err := m.CreatePart(h)
	if err == nil {
		err = writeBody(w, x.body, plain)
	}
	if err != nil && out.err == nil {
		out.err = err
	}
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
