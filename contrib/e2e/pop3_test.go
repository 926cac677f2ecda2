package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// popConn is a client that gives back what it gets, as it is.
type popConn struct {
	nc net.Conn
	br *bufio.Reader
}

// dialPOP3 connects to the listener for implicit TLS and logs in.
func (i *instance) dialPOP3(local string) (*popConn, error) {
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: mtatest.Patience}, "tcp", i.pop3s, i.certs.Client(i.ip))
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(talkTime))
	c := &popConn{nc, bufio.NewReader(nc)}
	if _, err = c.line(); err == nil {
		if _, err = c.cmd("USER %s", i.address(local)); err == nil {
			_, err = c.cmd("PASS %s", password)
		}
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// login is dialPOP3 for a test that cannot do without.
func (i *instance) login(t testing.TB, local string) *popConn {
	t.Helper()
	c, err := i.dialPOP3(local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func (c *popConn) close() { _ = c.nc.Close() }

func (c *popConn) line() (string, error) {
	line, err := c.br.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("got %q, want +OK", line)
	}
	return line, err
}

func (c *popConn) cmd(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c.nc, format+"\r\n", args...); err != nil {
		return "", err
	}
	return c.line()
}

// text reads what follows +OK up to the line with a dot, dots unstuffed.
func (c *popConn) text() ([]byte, error) {
	var b bytes.Buffer
	for {
		line, err := c.br.ReadBytes('\n')
		switch {
		case err != nil:
			return nil, err
		case string(line) == ".\r\n":
			return b.Bytes(), nil
		case line[0] == '.':
			b.Write(line[1:])
		default:
			b.Write(line)
		}
	}
}

// fetch is RETR.
func (c *popConn) fetch(n int) ([]byte, error) {
	if _, err := c.cmd("RETR %d", n); err != nil {
		return nil, err
	}
	return c.text()
}

// list is LIST or UIDL: the second word of each line.
func (c *popConn) list(command string) ([]string, error) {
	if _, err := c.cmd("%s", command); err != nil {
		return nil, err
	}
	b, err := c.text()
	if err != nil {
		return nil, err
	}
	var all []string
	for n, line := range strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n") {
		number, word, _ := strings.Cut(line, " ")
		switch {
		case line == "":
		case number != fmt.Sprint(n+1):
			return nil, fmt.Errorf("%s: got line %q, want number %d", command, line, n+1)
		default:
			all = append(all, word)
		}
	}
	return all, nil
}

// fetchAll returns a user's messages, the oldest first, and removes them.
func (i *instance) fetchAll(t testing.TB, local string) [][]byte {
	t.Helper()
	c := i.login(t, local)
	defer c.close()
	sizes, err := c.list("LIST")
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for n := range sizes {
		m, err := c.fetch(n + 1)
		if err == nil {
			_, err = c.cmd("DELE %d", n+1)
		}
		if err != nil {
			t.Fatalf("%s, message %d: %v", local, n+1, err)
		}
		if fmt.Sprint(len(m)) != sizes[n] {
			t.Errorf("%s, message %d: got %d octets, LIST says %s", local, n+1, len(m), sizes[n])
		}
		all = append(all, m)
	}
	if _, err := c.cmd("QUIT"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.br); err != nil && err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	return all
}

// one is fetchAll where there must be exactly one message.
func (i *instance) one(t testing.TB, local string) []byte {
	t.Helper()
	all := i.fetchAll(t, local)
	if len(all) != 1 {
		t.Fatalf("%s: got %d messages, want one: %q", local, len(all), all)
	}
	return all[0]
}

// trace are the fields in front of a message that we have put there: Return-Path, Delivered-To, Received.
func trace(t testing.TB, m []byte) (head, rest []byte) {
	t.Helper()
	for n, name := range []string{"Return-Path:", "Delivered-To:", "Received:"} {
		if !bytes.HasPrefix(m[len(head):], []byte(name)) {
			t.Fatalf("field %d: got %.80q, want %s", n+1, m[len(head):], name)
		}
		for {
			end := bytes.Index(m[len(head):], []byte("\r\n")) + 2
			head = m[:len(head)+end]
			if next := m[len(head):]; len(next) == 0 || next[0] != ' ' && next[0] != '\t' || name != "Received:" {
				break
			}
		}
	}
	return head, m[len(head):]
}
