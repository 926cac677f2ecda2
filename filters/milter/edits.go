package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

const (
	maxEdits = 1000     // what smtpd takes
	maxValue = 32 << 10 // octets of a field
	maxLine  = 900
)

// finish ends the body, and takes the changes and the decision of the milter.
func (s *session) finish(e *filters.Event, hidden bool) (*filters.Verdict, error) {
	if err := s.sendMacros(bodyEnd); err != nil {
		return nil, err
	}
	if err := s.write(bodyEnd.code, nil); err != nil {
		return nil, err
	}
	c := &changes{e: e, hidden: hidden, v: &filters.Verdict{}}
	code, data, err := s.read()
	for n := 0; err == nil; n++ {
		switch code {
		case saysAdd, saysInsert, saysChange, saysSender, saysAddRcpt, saysAddRcptPar, saysDelRcpt, saysQuarantine:
			err = c.make(code, data)
		case saysBody:
			b := &newBody{s: s, code: code, data: data}
			if err = c.body(b); err == nil {
				code, data, err = b.code, b.data, b.err
				continue
			}
		default:
			s.mailed = false
			return c.end(code, data)
		}
		if n >= maxEdits {
			return nil, fmt.Errorf("it wants more than %d changes", maxEdits)
		}
		if err == nil {
			code, data, err = s.read()
		}
	}
	return nil, err
}

// changes are what a milter wants to change.
type changes struct {
	e          *filters.Event
	hidden     bool // the first Received is not one that it has seen
	replaced   bool
	quarantine *string
	v          *filters.Verdict
}

// end is the verdict. Of a message that is not taken nothing is changed.
func (c *changes) end(code byte, data []byte) (*filters.Verdict, error) {
	a, err := newAnswer(code, data)
	if err != nil {
		return nil, err
	}
	if code == saysSkip {
		return nil, errors.New("it wants to skip the end of the message")
	}
	if v, err := a.verdict(); err != nil || v != nil {
		return v, err
	}
	if c.quarantine != nil {
		c.v.Action, c.v.Text = filters.Quarantine, daemon.OneLine(*c.quarantine)
	}
	return c.v, nil
}

func (c *changes) make(code byte, data []byte) error {
	index, want := uint32(0), 1
	switch code {
	case saysInsert, saysChange:
		if len(data) < 4 {
			return errors.New("it sends a change without its place")
		}
		index, data, want = binary.BigEndian.Uint32(data), data[4:], 2
	case saysAdd:
		want = 2
	}
	said, err := stringsOf(data, want)
	if err != nil {
		return err
	}
	switch code {
	case saysAdd, saysInsert, saysChange:
		if !daemon.FieldName(said[0]) {
			return fmt.Errorf("%q is no name for a header field", daemon.OneLine(said[0]))
		}
		c.header(code, index, said[0], said[1])
	case saysSender:
		c.v.ChangeSender(address(said[0]))
	case saysAddRcpt, saysAddRcptPar:
		c.v.AddRecipient(address(said[0]))
	case saysDelRcpt:
		c.v.RemoveRecipient(address(said[0]))
	case saysQuarantine:
		c.quarantine = &said[0]
	}
	return nil
}

// header: an inserted field stands at the top, wherever it was to be, and a field without a value is removed.
func (c *changes) header(code byte, index uint32, name, value string) {
	at := int(max(index, 1))
	if c.hidden && strings.EqualFold(name, "Received") {
		at++
	}
	switch {
	case code == saysAdd:
		c.v.AppendHeader(name, fit(value))
	case code == saysInsert:
		c.v.AddHeader(name, fit(value))
	case strings.TrimSpace(value) == "":
		c.v.RemoveHeader(name, at)
	default:
		c.v.ReplaceHeader(name, at, fit(value))
	}
}

func address(s string) string {
	return strings.ToValidUTF8(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">"), "?")
}

// fit is a value that a header can have, and the milter's own to the octet where that is one: it may be signed.
func fit(value string) string {
	value = strings.ReplaceAll(value, "\r\n", "\n")
	good := len(value) <= maxValue && !strings.Contains(value, "\r")
	for i, line := range strings.Split(value, "\n") {
		blank := strings.TrimSpace(line) == ""
		good = good && len(line) <= maxLine && (i == 0 || !blank && (line[0] == ' ' || line[0] == '\t'))
	}
	if good {
		return value
	}
	return daemon.FieldValue(value)
}

// body takes a new body, which comes in packets one behind the other.
func (c *changes) body(b *newBody) error {
	if c.replaced {
		return errors.New("it sends a new body in several parts, with other changes between them")
	}
	c.replaced = true
	return c.v.ReplaceBody(c.e, b)
}

// newBody reads the packets of a body, and keeps the one behind them.
type newBody struct {
	s    *session
	code byte
	data []byte
	err  error
}

func (b *newBody) Read(p []byte) (int, error) {
	for len(b.data) == 0 || b.code != saysBody {
		if b.err != nil {
			return 0, b.err
		}
		if b.code != saysBody {
			return 0, io.EOF
		}
		b.code, b.data, b.err = b.s.read()
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}
