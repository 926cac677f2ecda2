package milter

import (
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// decided ends a conversation early: verdict is nil where the milter has accepted.
type decided struct{ verdict *filters.Verdict }

// step puts a command to the milter. It gives decided where there is no more to ask, and whether no more of that kind is
// wanted.
func (s *session) step(c command, data []byte) (d *decided, skip bool, err error) {
	a, err := s.send(c, data)
	if err != nil {
		return nil, false, err
	}
	v, err := a.verdict()
	if err != nil {
		return nil, false, err
	}
	if v != nil || a.code == saysAccept {
		return &decided{v}, false, nil
	}
	return nil, a.code == saysSkip, nil
}

// envelope tells who has connected, the sender, and the recipients.
func (s *session) envelope(f *Filter, e *filters.Event, recipients []string) (*decided, error) {
	name, family, address, port := client(e)
	data := append(appendString(nil, name), family)
	if address != "" {
		data = appendString(binary.BigEndian.AppendUint16(data, port), address)
	}
	if d, _, err := s.step(connect, data); err != nil || d != nil {
		return d.ofConnection(), err
	}
	if e.Helo != "" {
		if d, _, err := s.step(helo, appendString(nil, e.Helo)); err != nil || d != nil {
			return d.ofConnection(), err
		}
	}
	s.mailed = true
	if d, _, err := s.step(mailFrom, sender(e)); err != nil || d != nil {
		return d, err
	}
	for _, to := range recipients {
		s.macros["rcpt_addr"] = to
		s.macros["rcpt_host"], s.macros["rcpt_mailer"] = f.way(to)
		d, skip, err := s.step(rcptTo, appendString(nil, "<"+to+">"))
		if err != nil || d != nil {
			return d, err
		}
		if skip {
			break
		}
	}
	return nil, nil
}

// ofConnection: a connection cannot be discarded (xxfi_connect, xxfi_helo), and none of its messages has been seen.
func (d *decided) ofConnection() *decided {
	if d != nil && d.verdict != nil && d.verdict.Action == filters.Discard {
		return &decided{}
	}
	return d
}

// sender is MAIL with its parameters, each a string of its own.
func sender(e *filters.Event) []byte {
	data := appendString(nil, "<"+e.Sender+">")
	if e.SizeParam > 0 {
		data = appendString(data, "SIZE="+strconv.FormatInt(e.SizeParam, 10))
	}
	if e.BodyType != "" {
		data = appendString(data, "BODY="+e.BodyType)
	}
	if e.SMTPUTF8 {
		data = appendString(data, "SMTPUTF8")
	}
	if e.AuthParam != "" {
		data = appendString(data, "AUTH="+e.AuthParam)
	}
	return data
}

// content tells the message, up to the end of its body.
func (s *session) content(m *filters.Message, fields []filters.Field) (*decided, error) {
	s.macros["msg_id"] = filters.Get(fields, "Message-ID")
	if d, _, err := s.step(dataBegin, nil); err != nil || d != nil {
		return d, err
	}
	for _, h := range fields {
		d, skip, err := s.step(field, s.field(h))
		if err != nil || d != nil {
			return d, err
		}
		if skip {
			break
		}
	}
	if d, _, err := s.step(headerEnd, nil); err != nil || d != nil {
		return d, err
	}
	if !s.sees(bodyChunk) {
		return nil, nil
	}
	r, err := m.Body()
	if err != nil {
		return nil, &daemon.ReadError{Err: err}
	}
	defer r.Close()
	for buf := make([]byte, maxCommand); ; {
		n, err := io.ReadFull(r, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, &daemon.ReadError{Err: err}
		}
		if n > 0 {
			if d, skip, err := s.step(bodyChunk, buf[:n]); err != nil || d != nil || skip {
				return d, err
			}
		}
		if err != nil {
			return nil, nil
		}
	}
}

// field is a header field as milters know it: line ends are LF, and the blank behind the colon is the server's. A field that
// is longer than a packet can be is shown as far as it goes.
func (s *session) field(h filters.Field) []byte {
	_, value, _ := strings.Cut(h.Raw, ":")
	value = strings.TrimRight(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	if s.options&leadingSpace == 0 {
		value = strings.TrimPrefix(value, " ")
	}
	name := h.Name[:min(len(h.Name), maxCommand/2)]
	return appendString(appendString(nil, name), value[:min(len(value), maxCommand-len(name)-2)])
}

// seen are the fields that a milter sees: all but the trace field that this server has put in front, which milters do not
// expect.
func seen(m *filters.Message) (fields []filters.Field, hidden bool, err error) {
	all, err := m.Header()
	if err != nil {
		return nil, false, &daemon.ReadError{Err: err}
	}
	for i, h := range all {
		if !strings.EqualFold(h.Name, "Received") {
			continue
		}
		if m.ID != "" && strings.Contains(h.Value, "id "+m.ID) {
			return append(all[:i:i], all[i+1:]...), true, nil
		}
		break
	}
	return all, false, nil
}
