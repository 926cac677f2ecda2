package mtatest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
)

// Session is a client's SMTP session that costs little, for benchmarks with thousands of them.
type Session struct {
	net.Conn
	br *bufio.Reader
}

// Dial opens a session from any of this host's addresses (nil: the usual one) and says EHLO, once more behind STARTTLS where over is
// given.
func Dial(t testing.TB, from net.Addr, addr string, over *tls.Config) *Session {
	t.Helper()
	s, err := open(from, addr, over)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(from net.Addr, addr string, over *tls.Config) (*Session, error) {
	d := net.Dialer{LocalAddr: from}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Session{nc, bufio.NewReaderSize(nc, 512)}
	if err = s.Say("", "220"); err == nil {
		err = s.Say("EHLO c.test\r\n", "250")
	}
	if err != nil || over == nil {
		return s, err
	}
	if err = s.Say("STARTTLS\r\n", "220"); err != nil {
		return s, err
	}
	s.Conn = tls.Client(nc, over)
	s.br = bufio.NewReaderSize(s.Conn, 512)
	return s, s.Say("EHLO c.test\r\n", "250")
}

// Say sends text and wants replies with these codes, each read to its last line.
func (s *Session) Say(text string, want ...string) error {
	if text != "" {
		if _, err := io.WriteString(s.Conn, text); err != nil {
			return err
		}
	}
	for _, code := range want {
		for more := true; more; {
			line, err := s.br.ReadSlice('\n')
			if err != nil || len(line) < 5 || string(line[:3]) != code {
				return fmt.Errorf("got %q, %w; want %s", line, err, code)
			}
			more = line[3] == '-'
		}
	}
	return nil
}
