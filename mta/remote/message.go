package remote

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/recode"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// shape is what a content asks of a server.
type shape struct {
	eightBit bool
	header8  bool // in the header
	longest  int  // octets of the longest line, counted where Options.MaxLine asks for it
}

// look reads the content once.
func (d *delivery) look() (shape, error) {
	if d.shape != nil {
		return *d.shape, nil
	}
	var s shape
	d.r.Content.Reset()
	buf := make([]byte, min(32<<10, max(d.r.Content.Size(), 1)))
	header, line := true, 0 // line: octets of the current line, less CR
	length := 0
	for {
		n, err := d.r.Content.Read(buf)
		if d.opt.MaxLine > 0 {
			length = s.measure(buf[:n], length)
		}
		for i, c := range buf[:n] {
			if !header {
				s.eightBit = s.eightBit || !ascii(buf[i:n])
				break
			}
			if c >= 0x80 {
				s.eightBit, s.header8 = true, true
			}
			switch c {
			case '\n':
				header = line > 0
				line = 0
			case '\r':
			default:
				line++
			}
		}
		if err == io.EOF || s.eightBit && !header && d.opt.MaxLine == 0 {
			d.shape = &s
			return s, nil
		}
		if err != nil {
			return s, err
		}
	}
}

// measure looks for the longest line; length is that of the line which goes on.
func (s *shape) measure(b []byte, length int) int {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return length + len(b)
		}
		s.longest = max(s.longest, length+i-1) // less CR
		b, length = b[i+1:], 0
	}
	return length
}

// fit returns the content in the form that the server takes, and its shape: 8-bit content becomes 7-bit (RFC 6152 3),
// long lines become shorter ones, and a header with UTF-8 one without, where no address of the envelope needs SMTPUTF8
// anyway. What cannot be is an error.
func (d *delivery) fit(c *smtpc.Client, s shape) (Content, shape, error) {
	n := recode.Need{SevenBit: s.eightBit && !c.Extensions().Has("8BITMIME"), ASCII: s.header8 && d.r.SMTPUTF8 && !c.Extensions().Has("SMTPUTF8")}
	if s.longest > d.opt.MaxLine {
		n.MaxLine = d.opt.MaxLine
	}
	if n == (recode.Need{}) {
		return d.r.Content, s, nil
	}
	if d.other == nil || d.need != n {
		d.drop()
		err := d.recode(n)
		switch {
		case errors.Is(err, recode.ErrAddress):
			return nil, s, fmt.Errorf("%w: %w", smtpc.ErrNoUTF8, err)
		case errors.Is(err, recode.ErrSigned) || errors.Is(err, recode.ErrForm) || errors.Is(err, errSealed):
			if n.SevenBit {
				return nil, s, fmt.Errorf("%w: %w", smtpc.ErrNo8Bit, err)
			} else if n.ASCII {
				return nil, s, fmt.Errorf("%w: %w", smtpc.ErrNoUTF8, err)
			}
			return d.r.Content, s, nil // long lines may stay
		case err != nil:
			return nil, s, fmt.Errorf("%w: %w", smtpc.ErrContent, err)
		}
		d.need = n
	}
	s.eightBit = s.eightBit && !n.SevenBit
	s.header8 = s.header8 && !n.SevenBit && !n.ASCII
	return d.other, s, nil
}

// errSealed is for a message with another host's DKIM signature: it would not be valid in another form.
var errSealed = errors.New("the message has a signature that would not be valid in the form that the server takes")

// recode makes the content's other form, with our signatures renewed. An LMTP server is the last to get a message: nobody
// verifies what others have signed behind it.
func (d *delivery) recode(n recode.Need) error {
	var own []sign.Own
	if d.opt.Key != nil {
		var others bool
		var err error
		d.r.Content.Reset()
		own, others, err = sign.Signatures(d.r.Content, d.opt.Key)
		switch {
		case errors.Is(err, sign.ErrHead), err == nil && others && len(own) == 0 && !d.r.Dest.LMTP:
			return errSealed
		case err != nil:
			return err
		}
	}
	r, err := recode.New(d.r.Content, n)
	if err != nil {
		return err
	}
	d.recoded, d.other = r, r
	if len(own) > 0 {
		d.other, err = sign.Renew(r, own)
	}
	return err
}

// drop ends the use of a form that is not needed any more.
func (d *delivery) drop() {
	if d.recoded != nil {
		d.recoded.Close()
		d.recoded, d.other = nil, nil
	}
}

// ascii says that no octet is beyond ASCII, eight at a time.
func ascii(b []byte) bool {
	var or uint64
	for ; len(b) >= 8; b = b[8:] {
		or |= binary.LittleEndian.Uint64(b)
	}
	for _, c := range b {
		or |= uint64(c)
	}
	return or&0x8080808080808080 == 0
}

// message makes a transaction for the recipients that are open; index tells which they are. A recipient whose address
// the server cannot take is settled.
func (d *delivery) message(p peer, c *smtpc.Client, content Content, s shape) (m smtpc.Message, index []int) {
	m = smtpc.Message{From: aLabels(d.r.Sender), Size: content.Size(), EightBit: s.eightBit, Content: content}
	m.SMTPUTF8 = !m.From.IsASCII() || d.r.SMTPUTF8 && s.header8
	m.Probe = d.r.Probe
	m.Ret, m.EnvID, m.By, m.Priority, m.RequireTLS = d.r.Ret, d.r.EnvID, d.r.By, d.r.Priority, d.r.RequireTLS && d.relays()
	for i, r := range d.r.Rcpts {
		if !d.open[i] {
			continue
		}
		r.Address = aLabels(r.Address)
		if !r.Address.IsASCII() {
			if !c.Extensions().Has("SMTPUTF8") {
				d.settle(i, d.unfit(p, c, smtpc.ErrNoUTF8))
				continue
			}
			m.SMTPUTF8 = true
		}
		m.Rcpts = append(m.Rcpts, r)
		index = append(index, i)
	}
	return m, index
}

// aLabels makes a domain beyond ASCII one that every server takes (RFC 6531 3.2); the local part has no such form.
func aLabels(a mta.Address) mta.Address {
	if ascii, err := dns.ASCII(a.Domain); err == nil {
		a.Domain = ascii
	}
	return a
}

// unfit is for a message that the server says it cannot take, before anything was sent.
func (d *delivery) unfit(p peer, c *smtpc.Client, err error) mta.Outcome {
	var r mta.Reply
	switch {
	case errors.Is(err, smtpc.ErrTooLarge):
		r = mta.Reply{Code: 552, Enhanced: "5.3.4", Text: p.host + ": " + err.Error()}
	case errors.Is(err, smtpc.ErrNo8Bit):
		r = mta.Reply{Code: 554, Enhanced: "5.6.3", Text: p.host + ": " + err.Error()}
	case errors.Is(err, smtpc.ErrNoRequireTLS):
		r = mta.Reply{Code: 550, Enhanced: codeRequireTLS, Text: p.host + ": " + err.Error()}
	case errors.Is(err, smtpc.ErrDeadline):
		r = mta.Reply{Code: 554, Enhanced: "5.4.7", Text: p.host + ": " + err.Error()}
	default:
		r = mta.Reply{Code: 553, Enhanced: "5.6.7", Text: p.host + ": " + err.Error()}
	}
	o := d.outcome(p, c.TLS(), "EHLO", mta.Reply{}, r)
	o.Host = "" // our words, not the server's
	return o
}
