package remote

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// shape is what a content asks of a server.
type shape struct {
	eightBit bool
	header8  bool // in the header
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
	for {
		n, err := d.r.Content.Read(buf)
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
		if err == io.EOF || s.eightBit && !header {
			d.shape = &s
			return s, nil
		}
		if err != nil {
			return s, err
		}
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
func (d *delivery) message(p peer, c *smtpc.Client, s shape) (m smtpc.Message, index []int) {
	m = smtpc.Message{From: aLabels(d.r.Sender), Size: d.r.Content.Size(), EightBit: s.eightBit, Content: d.r.Content}
	m.SMTPUTF8 = !m.From.IsASCII() || d.r.SMTPUTF8 && s.header8
	m.Ret, m.EnvID, m.By, m.RequireTLS = d.r.Ret, d.r.EnvID, d.r.By, d.r.RequireTLS && d.relays()
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
