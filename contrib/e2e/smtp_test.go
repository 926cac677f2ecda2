package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// smtpConn is a client that sends what it is told to, as it is.
type smtpConn struct {
	nc net.Conn
	br *bufio.Reader
}

// talkTime bounds one conversation with a server.
const talkTime = 2 * time.Minute

// queuedAs finds the id in the reply to a message.
var queuedAs = regexp.MustCompile(`Queued as (\w+)`)

// dialSMTP connects and reads the greeting.
func dialSMTP(addr string) (*smtpConn, error) {
	nc, err := net.DialTimeout("tcp", addr, mtatest.Patience)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(talkTime))
	c := &smtpConn{nc, bufio.NewReader(nc)}
	if _, err := c.expect("220"); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *smtpConn) close() { _ = c.nc.Close() }

// reply reads one reply, its lines joined by "\n".
func (c *smtpConn) reply() (string, error) {
	var all []string
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return strings.Join(all, "\n"), err
		}
		line = strings.TrimRight(line, "\r\n")
		all = append(all, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "\n"), nil
		}
	}
}

func (c *smtpConn) expect(prefix string) (string, error) {
	got, err := c.reply()
	if err == nil && !strings.HasPrefix(got, prefix) {
		err = &replyError{got, prefix}
	}
	return got, err
}

// replyError is a reply that was not wanted.
type replyError struct{ got, want string }

func (e *replyError) Error() string { return fmt.Sprintf("got reply %q, want %s", e.got, e.want) }

// cmd sends a line and wants a reply that begins with prefix.
func (c *smtpConn) cmd(prefix, format string, args ...any) (string, error) {
	line := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(c.nc, line+"\r\n"); err != nil {
		return "", err
	}
	got, err := c.expect(prefix)
	if err != nil {
		err = fmt.Errorf("%s: %w", line, err)
	}
	return got, err
}

// secure does STARTTLS and greets again.
func (c *smtpConn) secure(cfg *tls.Config) error {
	if _, err := c.cmd("220", "STARTTLS"); err != nil {
		return err
	}
	over := tls.Client(c.nc, cfg)
	if err := over.Handshake(); err != nil {
		return err
	}
	c.nc, c.br = over, bufio.NewReader(over)
	_, err := c.cmd("250", "EHLO client.test")
	return err
}

// begin is MAIL and RCPT.
func (c *smtpConn) begin(from string, to ...string) error {
	if _, err := c.cmd("250", "MAIL FROM:<%s>", from); err != nil {
		return err
	}
	for _, r := range to {
		if _, err := c.cmd("250", "RCPT TO:<%s>", r); err != nil {
			return err
		}
	}
	return nil
}

// stuff makes of a content with CR LF line ends what follows DATA, without the last line.
func stuff(content []byte) []byte {
	out := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(out, []byte(".")) {
		out = append([]byte("."), out...)
	}
	return out
}

// send sends one message; id is of the spool. sent says whether the last line went out: without a reply nobody knows
// then what became of it.
func (c *smtpConn) send(content []byte, from string, to ...string) (id string, sent bool, err error) {
	if err := c.begin(from, to...); err != nil {
		return "", false, err
	}
	if _, err := c.cmd("354", "DATA"); err != nil {
		return "", false, err
	}
	if _, err := c.nc.Write(stuff(content)); err != nil {
		return "", false, err
	}
	got, err := c.cmd("250", ".")
	if err != nil {
		return "", true, err
	}
	m := queuedAs.FindStringSubmatch(got)
	if m == nil {
		return "", true, fmt.Errorf("got reply %q, want an id in it", got)
	}
	return m[1], true, nil
}

// submit logs in as a user at the submission listener.
func (i *instance) submit(t testing.TB, local string) *smtpConn {
	t.Helper()
	c, err := dialSMTP(i.submission)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if _, err = c.cmd("250", "EHLO client.test"); err == nil {
		err = c.secure(i.certs.Client(i.ip))
	}
	if err == nil {
		_, err = c.cmd("235", "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+i.address(local)+"\x00"+password)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connect greets the mx listener.
func (i *instance) connect(t testing.TB) *smtpConn {
	t.Helper()
	c, err := dialSMTP(i.mx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if _, err := c.cmd("250", "EHLO client.test"); err != nil {
		t.Fatal(err)
	}
	return c
}

// deposit sends a message to users of the instance from outside, and returns its id.
func (i *instance) deposit(t testing.TB, content string, to ...string) string {
	t.Helper()
	c := i.connect(t)
	defer c.close()
	for n := range to {
		to[n] = i.address(to[n])
	}
	id, _, err := c.send([]byte(content), "sender@away.test", to...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
