package smtpd

import (
	"bufio"
	"bytes"
	"errors"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// maxSkip is how much of an overlong line is read in search of its end.
const maxSkip = 64 << 10

var errEndlessLine = errors.New("command line without an end")

// line is a command line without its end; fault is the refusal of one that cannot be used.
type line struct {
	text  []byte // valid until the next read; of an overlong one the beginning
	fault mta.Reply
	long  bool // that is the fault
}

// readLine reads up to the next LF. A line beyond what any command may have is read to its end and refused, so that
// the dialogue stays in step. A line must end in CR LF (RFC 5321 2.3.8); only on the local socket an LF will do.
func (s *session) readLine() (line, error) {
	b, err := s.br.Peek(1)
	if err != nil {
		return line{}, err
	}
	if b[0] == tlsHandshake {
		return line{text: b}, nil // there may never be an LF
	}
	var long []byte
	skipped := 0
	for {
		b, err := s.br.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return line{}, err
		}
		switch {
		case err == nil && long == nil && skipped == 0:
			return s.cutEnd(b), nil
		case skipped > 0 || len(long)+len(b) > smtp.MaxAuth:
			if skipped += len(b); skipped > maxSkip {
				return line{}, errEndlessLine
			}
		default:
			long = append(long, b...)
		}
		switch {
		case err == nil && skipped > 0:
			verb, _, _ := bytes.Cut(long, []byte(" "))
			return line{text: long, fault: tooLong(string(bytes.ToUpper(verb))), long: true}, nil
		case err == nil:
			return s.cutEnd(long), nil
		}
	}
}

func (s *session) cutEnd(b []byte) line {
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return line{text: b[:n-1]}
	}
	if s.peer != nil {
		return line{text: b}
	}
	if alien(b) != "" {
		return line{text: b}
	}
	return line{text: b, fault: reply(500, "5.5.2", "Lines must end in CR LF")}
}

// tooLong refuses a line; RFC 4954 4 has a code of its own for AUTH.
func tooLong(verb string) mta.Reply {
	if verb == "AUTH" {
		return reply(500, "5.5.6", "Authentication exchange line is too long")
	}
	return reply(500, "5.5.2", "Line too long")
}

// tlsHandshake is the first octet of a TLS handshake record (RFC 8446 5.1); no command begins so.
const tlsHandshake = 0x16

// alien names the protocol of a client that is surely not speaking SMTP: a browser made to post to our port, or TLS on
// a port without. Whatever it says next is not for us.
func alien(b []byte) string {
	if len(b) > 0 && b[0] == tlsHandshake {
		return "TLS"
	}
	for _, p := range [...]string{"GET /", "POST /", "HEAD /", "PUT /", "DELETE /", "OPTIONS ", "CONNECT ", "PATCH /", "TRACE /", "Host:", "User-Agent:", "PRI * HTTP/"} {
		if len(b) >= len(p) && bytes.EqualFold(b[:len(p)], []byte(p)) {
			return "HTTP"
		}
	}
	return ""
}
