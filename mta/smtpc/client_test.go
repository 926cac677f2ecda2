package smtpc_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

func addr(s string) mta.Address {
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func message(text string, rcpts ...string) smtpc.Message {
	m := smtpc.Message{From: addr("alice@example.test"), Size: int64(len(text)), Content: strings.NewReader(text)}
	for _, r := range rcpts {
		m.Rcpts = append(m.Rcpts, mta.Recipient{Address: addr(r)})
	}
	return m
}

func connect(t *testing.T, s *mtatest.Sink) *smtpc.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := smtpc.New(t.Context(), conn, "client.test", smtpc.Timeouts{})
	t.Cleanup(c.Close)
	return c
}

func show(results []smtpc.Result) string {
	var list []string
	for _, r := range results {
		s := fmt.Sprintf("%s %d", r.Stage, r.Reply.Code)
		switch {
		case errors.Is(r.Err, smtpc.ErrUnknown):
			s = r.Stage + " unknown"
		case r.Err != nil && r.Reply.Code == 0:
			s = r.Stage + " lost"
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

// part plays replies by the beginning of the command.
func part(replies map[string]string) func(string) string {
	return func(command string) string {
		for prefix, r := range replies {
			if strings.HasPrefix(command, prefix) {
				return r
			}
		}
		return ""
	}
}

const text = "Subject: x\r\n\r\n.dot\r\nline\r\n"

func TestResultOfEachRecipient(t *testing.T) {
	for _, c := range []struct {
		what   string
		part   map[string]string
		want   string // of b, c, d
		usable bool
		taken  int
	}{
		{"all well", nil, "end of data 250, end of data 250, end of data 250", true, 1},
		{"MAIL refused", map[string]string{"MAIL": "550 5.7.1 no"}, "MAIL 550, MAIL 550, MAIL 550", true, 0},
		{"MAIL refused and DATA accepted", map[string]string{"MAIL": "450 later", "RCPT": "503 no", "DATA": "354 fine", "END": "554 nobody"}, "MAIL 450, MAIL 450, MAIL 450", true, 0},
		{"one recipient refused", map[string]string{"RCPT TO:<c": "550 5.1.1 no"}, "end of data 250, RCPT 550, end of data 250", true, 1},
		{"too many recipients in the old way", map[string]string{"RCPT TO:<c": "552 too many"}, "end of data 250, RCPT 452, end of data 250", true, 1},
		{"mailbox full stays permanent", map[string]string{"RCPT TO:<c": "552 5.2.2 full"}, "end of data 250, RCPT 552, end of data 250", true, 1},
		{"all refused", map[string]string{"RCPT": "550 no"}, "RCPT 550, RCPT 550, RCPT 550", true, 0},
		{"all refused and DATA accepted", map[string]string{"RCPT": "550 no", "DATA": "354 fine", "END": "554 nobody"}, "RCPT 550, RCPT 550, RCPT 550", true, 0},
		{"DATA refused", map[string]string{"DATA": "451 later", "RCPT TO:<c": "550 no"}, "DATA 451, RCPT 550, DATA 451", true, 0},
		{"DATA answered with 250", map[string]string{"DATA": "250 ok"}, "DATA 250, DATA 250, DATA 250", false, 0},
		{"content refused", map[string]string{"END": "554 5.7.1 spam", "RCPT TO:<b": "450 later"}, "RCPT 450, end of data 554, end of data 554", true, 0},
		{"421 at the end", map[string]string{"END": "421 bye"}, "end of data 421, end of data 421, end of data 421", false, 0},
		{"lost at MAIL", map[string]string{"MAIL": mtatest.Drop}, "MAIL lost, MAIL lost, MAIL lost", false, 0},
		{"lost at RCPT", map[string]string{"RCPT TO:<c": mtatest.Drop, "RCPT TO:<b": "550 no"}, "RCPT 550, RCPT lost, RCPT lost", false, 0},
		{"lost at DATA", map[string]string{"DATA": mtatest.Drop}, "DATA lost, DATA lost, DATA lost", false, 0},
		{"lost after the content", map[string]string{"END": mtatest.Drop, "RCPT TO:<c": "550 no"}, "end of data unknown, RCPT 550, end of data unknown", false, 0},
		{"garbage", map[string]string{"RCPT TO:<c": "what?"}, "RCPT lost, RCPT lost, RCPT lost", false, 0},
		{"421 for RCPT, and gone", map[string]string{"RCPT TO:<c": "421 4.7.0 too fast", "RCPT TO:<d": mtatest.Drop}, "RCPT 421, RCPT 421, RCPT 421", false, 0},
		{"354 for MAIL", map[string]string{"MAIL": "354 go on"}, "MAIL lost, MAIL lost, MAIL lost", false, 0},
		{"354 for RCPT", map[string]string{"RCPT TO:<d": "354 go on"}, "RCPT lost, RCPT lost, RCPT lost", false, 0},
		{"codes that differ", map[string]string{"END": "250-a\r\n550 b"}, "end of data unknown, end of data unknown, end of data unknown", false, 1},
	} {
		for _, ext := range [][]string{nil, {"PIPELINING", "SIZE 1000", "8BITMIME"}} {
			s := (&mtatest.Sink{On: part(c.part), Extensions: ext}).Start(t, "")
			cl := connect(t, s)
			if err := cl.Hello(); err != nil {
				t.Fatal(err)
			}
			results, usable, err := cl.Send(message(text, "b@far.test", "c@far.test", "d@far.test"))
			if got := show(results); err != nil || got != c.want || usable != c.usable {
				t.Errorf("%s %v: got %s, usable %v, %v; want %s, usable %v", c.what, ext, got, usable, err, c.want, c.usable)
			}
			if got := s.Messages(); len(got) != c.taken || c.taken == 1 && got[0].Data != text {
				t.Errorf("%s %v: %d messages taken, want %d: %+v", c.what, ext, len(got), c.taken, got)
			}
			if usable {
				results, usable, err = cl.Send(message(text, "other@far.test"))
				if len(c.part) == 0 && (err != nil || !usable || show(results) != "end of data 250") {
					t.Errorf("%s %v: second message: %s, %v", c.what, ext, show(results), err)
				}
				cl.Quit()
			}
			s.Close()
		}
	}
}

func TestManyRecipientsGoInGroups(t *testing.T) {
	s := (&mtatest.Sink{Extensions: []string{"PIPELINING"}}).Start(t, "")
	c := connect(t, s)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	var rcpts []string
	for i := range 1000 {
		rcpts = append(rcpts, fmt.Sprintf("u%d@far.test", i))
	}
	results, _, err := c.Send(message(text, rcpts...))
	if err != nil || len(results) != 1000 || results[999].Err != nil {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if got := s.Messages(); len(got) != 1 || len(got[0].Rcpts) != 1000 {
		t.Errorf("got %d messages", len(got))
	}
}

func TestServerThatDoesNotKnowEHLO(t *testing.T) {
	s := (&mtatest.Sink{On: part(map[string]string{"EHLO": "502 5.5.1 what?"})}).Start(t, "")
	c := connect(t, s)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Send(message(text, "b@far.test")); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Commands()[:3], []string{"EHLO client.test", "HELO client.test", "MAIL FROM:<alice@example.test>"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRefusedHello(t *testing.T) {
	for _, c := range []struct {
		part map[string]string
		want int // 0: no reply
	}{
		{map[string]string{"GREETING": "554 no mail here"}, 554},
		{map[string]string{"GREETING": "421 busy"}, 421},
		{map[string]string{"GREETING": "250 hello"}, 0},
		{map[string]string{"GREETING": "HTTP/1.1 400 Bad Request"}, 0},
		{map[string]string{"GREETING": mtatest.Drop}, 0},
		{map[string]string{"EHLO": "450 later"}, 450},
		{map[string]string{"EHLO": "521 no mail here"}, 521},
		{map[string]string{"EHLO": "502 what", "HELO": "550 no"}, 550},
		{map[string]string{"EHLO": mtatest.Drop}, 0},
		{map[string]string{"EHLO": "250-" + strings.Repeat("x", 5000) + "\r\n250 ok"}, 0},
		{map[string]string{"EHLO": strings.Repeat("250-x\r\n", 20000) + "250 ok"}, 0},
	} {
		s := (&mtatest.Sink{On: part(c.part)}).Start(t, "")
		err := connect(t, s).Hello()
		var r mta.Reply
		errors.As(err, &r)
		if err == nil || r.Code != c.want {
			t.Errorf("%.80q: got %v, want code %d", fmt.Sprint(c.part), err, c.want)
		}
		s.Close()
	}
}

func TestParametersFollowTheExtensions(t *testing.T) {
	full := []string{"SIZE 100", "8BITMIME", "SMTPUTF8"}
	by := func(left time.Duration, mode string) func(*smtpc.Message) {
		return func(m *smtpc.Message) { m.By = &mta.DeliverBy{At: time.Now().Add(left), Mode: mode} }
	}
	dsn := func(m *smtpc.Message) { m.Ret, m.EnvID = "HDRS", "QQ+2B314" }
	for _, c := range []struct {
		ext  []string
		edit func(*smtpc.Message)
		want string // MAIL's argument
		err  error
	}{
		{nil, func(m *smtpc.Message) { m.EightBit = true }, "", smtpc.ErrNo8Bit},
		{[]string{"8BITMIME"}, func(m *smtpc.Message) { m.SMTPUTF8 = true }, "", smtpc.ErrNoUTF8},
		{full, func(m *smtpc.Message) { m.Size = 101 }, "", smtpc.ErrTooLarge},
		{full, func(m *smtpc.Message) {}, fmt.Sprintf("FROM:<alice@example.test> SIZE=%d", len(text)), nil},
		{full, func(m *smtpc.Message) { m.EightBit, m.SMTPUTF8 = true, true }, fmt.Sprintf("FROM:<alice@example.test> SIZE=%d BODY=8BITMIME SMTPUTF8", len(text)), nil},
		{nil, func(m *smtpc.Message) { m.From = mta.Address{} }, "FROM:<>", nil},
		{nil, dsn, "FROM:<alice@example.test>", nil},
		{[]string{"DSN"}, dsn, "FROM:<alice@example.test> RET=HDRS ENVID=QQ+2B314", nil},
		{[]string{"DSN"}, func(m *smtpc.Message) { m.Ret, m.EnvID = "ALL", "a b" }, "FROM:<alice@example.test>", nil},
		{[]string{"DSN"}, func(m *smtpc.Message) { m.EnvID = strings.Repeat("x", 101) }, "FROM:<alice@example.test>", nil},
		{[]string{"DELIVERBY"}, by(time.Hour, "RT"), "FROM:<alice@example.test> BY=3600;RT", nil},
		{[]string{"DELIVERBY 3000"}, by(time.Hour, "R"), "FROM:<alice@example.test> BY=3600;R", nil},
		{[]string{"DELIVERBY 3601,x"}, by(time.Hour, "R"), "", smtpc.ErrDeadline},
		{[]string{"DELIVERBY"}, by(0, "R"), "", smtpc.ErrDeadline},
		{[]string{"DELIVERBY 3601"}, by(-time.Hour, "N"), "FROM:<alice@example.test> BY=-3600;N", nil},
		{nil, by(time.Hour, "R"), "", smtpc.ErrDeadline},
		{[]string{"MT-PRIORITY MIXER"}, func(m *smtpc.Message) { m.Priority = -9 }, "FROM:<alice@example.test> MT-PRIORITY=-9", nil},
		{[]string{"MT-PRIORITY"}, func(m *smtpc.Message) { m.Priority = 12 }, "FROM:<alice@example.test> MT-PRIORITY=9", nil},
		{[]string{"MT-PRIORITY"}, func(m *smtpc.Message) {}, "FROM:<alice@example.test>", nil},
		{nil, func(m *smtpc.Message) { m.Priority = 5 }, "FROM:<alice@example.test>", nil},
		{nil, by(time.Hour, "NT"), "FROM:<alice@example.test>", nil},
		{nil, func(m *smtpc.Message) { m.From = addr(`"a b>"@example.test`) }, `FROM:<"a b>"@example.test>`, nil},
	} {
		s := (&mtatest.Sink{Extensions: c.ext}).Start(t, "")
		cl := connect(t, s)
		if err := cl.Hello(); err != nil {
			t.Fatal(err)
		}
		m := message(text, "b@far.test")
		c.edit(&m)
		_, usable, err := cl.Send(m)
		if !errors.Is(err, c.err) || !usable {
			t.Errorf("%v: error %v, usable %v; want %v, true", c.ext, err, usable, c.err)
		}
		if got := s.Messages(); c.err == nil && (len(got) != 1 || nearly(got[0].Mail) != c.want) {
			t.Errorf("got %+v, want MAIL %s", got, c.want)
		}
		s.Close()
	}
}

// nearly rounds the seconds of BY to ten minutes: the clock goes on while a test runs.
func nearly(mail string) string {
	return regexp.MustCompile(`BY=-?\d+`).ReplaceAllStringFunc(mail, func(s string) string {
		n, _ := strconv.Atoi(s[3:])
		return fmt.Sprintf("BY=%.0f", math.Round(float64(n)/600)*600)
	})
}

func TestRecipientsParametersFollowTheExtensions(t *testing.T) {
	for _, c := range []struct {
		notify, orcpt string
		utf8          bool
		want          string
	}{
		{"", "", false, ""},
		{"SUCCESS, FAILURE", "rfc822", false, ""},
		{"NEVER,DELAY", ";x@y.test", false, ""},
		{"FAILURE\r\nRCPT TO:<evil@far.test>", "rfc822;x\r\nQUIT", false, ""},
		{"delay,success", "rfc822;b+2Bc@list.test", false, " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@list.test"},
		{"NEVER", "rfc822;\xc3\xbc@list.test", false, " NOTIFY=NEVER"},
		{"FAILURE", "utf-8;\xc3\xbc@list.test", false, ` NOTIFY=FAILURE ORCPT=utf-8;\x{FC}@list.test`},
		{"FAILURE", "utf-8;\xc3\xbc\\x{5C}x@list.test", false, ` NOTIFY=FAILURE ORCPT=utf-8;\x{FC}\x{5C}x@list.test`},
		{"FAILURE", `utf-8;a\x{2B}b\x{FC}@list.test`, false, ` NOTIFY=FAILURE ORCPT=utf-8;a\x{2B}b\x{FC}@list.test`},
		{"FAILURE", "utf-8;\xc3\xbc@list.test", true, " NOTIFY=FAILURE ORCPT=utf-8;\xc3\xbc@list.test"},
		{"FAILURE", "rfc822;" + strings.Repeat("x", 500), false, " NOTIFY=FAILURE"},
	} {
		for _, ext := range [][]string{{"SMTPUTF8"}, {"SMTPUTF8", "DSN"}} {
			s := (&mtatest.Sink{Extensions: ext}).Start(t, "")
			cl := connect(t, s)
			if err := cl.Hello(); err != nil {
				t.Fatal(err)
			}
			m := message(text, "b@far.test")
			m.Rcpts[0].Notify, m.Rcpts[0].ORcpt, m.SMTPUTF8 = c.notify, c.orcpt, c.utf8
			_, _, err := cl.Send(m)
			want := "TO:<b@far.test>"
			if len(ext) == 2 {
				want += c.want
			}
			if got := s.Messages(); err != nil || len(got) != 1 || len(got[0].Rcpts) != 1 || got[0].Rcpts[0] != want {
				t.Errorf("%q %q %v: got %+v, %v; want RCPT %s", c.notify, c.orcpt, ext, got, err, want)
			}
			s.Close()
		}
	}
}

type brokenReader struct{ io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("disk failed")
	}
	return n, err
}

func TestContentThatBreaksOffIsNotEnded(t *testing.T) {
	s := (&mtatest.Sink{}).Start(t, "")
	c := connect(t, s)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	m := message("", "b@far.test")
	m.Content = brokenReader{strings.NewReader("Subject: half\r\n\r\nof it\r\n")}
	results, usable, _ := c.Send(m)
	if usable || !errors.Is(results[0].Err, smtpc.ErrContent) {
		t.Errorf("got %+v, usable %v; want ErrContent", results, usable)
	}
	c.Close()
	s.Close()
	if got := s.Messages(); len(got) != 0 {
		t.Errorf("half a message was delivered: %+v", got)
	}
}

func TestServerThatRefusesInTheMiddleOfTheContent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		br := bufio.NewReader(conn)
		fmt.Fprint(conn, "220 hi\r\n")
		for _, r := range []string{"250 hi", "250 ok", "250 ok", "354 go"} {
			if _, err := br.ReadString('\n'); err != nil {
				return
			}
			fmt.Fprint(conn, r+"\r\n")
		}
		_, _ = io.CopyN(io.Discard, br, 100<<10)
		fmt.Fprint(conn, "552 5.3.4 enough\r\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, br)
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := smtpc.New(t.Context(), conn, "client.test", smtpc.Timeouts{})
	defer c.Close()
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	results, _, _ := c.Send(message(strings.Repeat("line\r\n", 100000), "b@far.test"))
	if got, want := show(results), "end of data 552"; got != want {
		t.Errorf("got %s (%v), want %s", got, results[0].Err, want)
	}
	c.Close()
}

func TestStartTLSLeavesNothingOfThePlainText(t *testing.T) {
	certs := mtatest.NewCerts(t, "sink.test")
	first := true
	s := (&mtatest.Sink{Config: certs.Server(), On: func(command string) string {
		if strings.HasPrefix(command, "EHLO") && first {
			first = false
			return "250-sink.test\r\n250-SIZE 1\r\n250-AUTH PLAIN\r\n250 STARTTLS"
		}
		return ""
	}}).Start(t, "")
	c := connect(t, s)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(certs.Client("sink.test")); err != nil {
		t.Fatal(err)
	}
	if c.Extensions().Has("SIZE") || c.Extensions().Has("AUTH") || c.TLS() == nil {
		t.Errorf("after STARTTLS: extensions %v, TLS %v", c.Extensions(), c.TLS() != nil)
	}
	if _, _, err := c.Send(message(text, "b@far.test")); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(); len(got) != 1 || !got[0].TLS {
		t.Errorf("got %+v, want one message over TLS", got)
	}
}

func TestStartTLSThatFails(t *testing.T) {
	certs := mtatest.NewCerts(t, "sink.test")
	for _, c := range []struct {
		what string
		part map[string]string
		cfg  *tls.Config
		want error
	}{
		{"injected text", map[string]string{"STARTTLS": "220 go\r\n250 injected"}, certs.Client("sink.test"), smtpc.ErrInjected},
		{"garbage", map[string]string{"TLS": "500 what is that?"}, certs.Client("sink.test"), smtpc.ErrTLS},
		{"closed", map[string]string{"TLS": mtatest.Drop}, certs.Client("sink.test"), smtpc.ErrTLS},
		{"wrong name", nil, certs.Client("other.test"), smtpc.ErrTLS},
		{"refused", map[string]string{"STARTTLS": "454 4.7.0 not now"}, certs.Client("sink.test"), mta.Reply{Code: 454, Enhanced: "4.7.0", Text: "not now"}},
	} {
		s := (&mtatest.Sink{Config: certs.Server(), On: part(c.part)}).Start(t, "")
		cl := connect(t, s)
		if err := cl.Hello(); err != nil {
			t.Fatal(err)
		}
		if err := cl.StartTLS(c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		cl.Close()
		s.Close()
	}
}

func TestPasswordGoesOverVerifiedTLSOnly(t *testing.T) {
	certs := mtatest.NewCerts(t, "sink.test")
	unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	for _, c := range []struct {
		what string
		cfg  *tls.Config
		ext  []string
		part map[string]string
		want error
	}{
		{"no TLS", nil, []string{"AUTH PLAIN"}, nil, smtpc.ErrUnverified},
		{"unverified", unverified, []string{"AUTH PLAIN"}, nil, smtpc.ErrUnverified},
		{"not offered", certs.Client("sink.test"), []string{"AUTH LOGIN"}, nil, smtpc.ErrNoPlain},
		{"refused", certs.Client("sink.test"), []string{"AUTH PLAIN"}, map[string]string{"AUTH": "535 5.7.8 no"}, mta.Reply{Code: 535, Enhanced: "5.7.8", Text: "no"}},
		{"accepted", certs.Client("sink.test"), []string{"AUTH LOGIN PLAIN"}, nil, nil},
	} {
		s := (&mtatest.Sink{Config: certs.Server(), Extensions: c.ext, On: part(c.part)}).Start(t, "")
		cl := connect(t, s)
		if err := cl.Hello(); err != nil {
			t.Fatal(err)
		}
		if c.cfg != nil {
			if err := cl.StartTLS(c.cfg); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.Auth("user", "secret"); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		sent := slices.ContainsFunc(s.Commands(), func(l string) bool { return strings.HasPrefix(l, "AUTH") })
		if want := c.want == nil || len(c.part) > 0; sent != want {
			t.Errorf("%s: password sent %v, want %v", c.what, sent, want)
		}
		cl.Close()
		s.Close()
	}
}

func TestEndOfContextEndsTheDialogue(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("shutting down")
	s := (&mtatest.Sink{On: func(command string) string {
		if command == "GREETING" {
			cancel(reason)
			<-t.Context().Done()
		}
		return ""
	}}).Start(t, "")
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := smtpc.New(ctx, conn, "client.test", smtpc.Timeouts{})
	defer c.Close()
	if err := c.Hello(); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

// peer is go-smtp's server, which owes nothing to us.
type peer struct {
	got  chan string
	user string
}

func (p *peer) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &peerSession{p: p}, nil }

type peerSession struct {
	p     *peer
	rcpts []string
}

func (s *peerSession) Reset()                                 { s.rcpts = nil }
func (s *peerSession) Logout() error                          { return nil }
func (s *peerSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *peerSession) AuthMechanisms() []string               { return []string{"PLAIN"} }
func (s *peerSession) Auth(string) (gosasl.Server, error) {
	return gosasl.NewPlainServer(func(_, user, password string) error {
		s.p.user = user + ":" + password
		return nil
	}), nil
}

func (s *peerSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "no") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.rcpts = append(s.rcpts, to)
	return nil
}

func (s *peerSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.p.got <- strings.Join(s.rcpts, " ") + "\n" + string(b)
	return err
}

func TestAgainstAnIndependentServer(t *testing.T) {
	certs := mtatest.NewCerts(t, "peer.test")
	p := &peer{got: make(chan string, 2)}
	srv := gosmtp.NewServer(p)
	srv.Domain, srv.TLSConfig = "peer.test", certs.Server()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := smtpc.New(t.Context(), conn, "client.test", smtpc.Timeouts{})
	for _, step := range []func() error{
		c.Hello,
		func() error { return c.StartTLS(certs.Client("peer.test")) },
		func() error { return c.Auth("alice", "pass word") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if !c.Extensions().Has("PIPELINING") {
		t.Error("the peer does not offer PIPELINING")
	}
	for range 2 {
		results, usable, err := c.Send(message(text, "b@far.test", "no@far.test", "d@far.test"))
		if got, want := show(results), "end of data 250, RCPT 550, end of data 250"; err != nil || !usable || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
		if got, want := <-p.got, "b@far.test d@far.test\n"+text; got != want {
			t.Errorf("the peer has %q, want %q", got, want)
		}
	}
	c.Quit()
	if p.user != "alice:pass word" {
		t.Errorf("the peer saw the login %q", p.user)
	}
}

func TestNothingCountsThatIsSaidBeforeTheEndOfTheData(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"354 go on\r\n250 2.0.0 taken already", "end of data lost"},
		{"354 go on\r\n552 5.3.4 no", "end of data 552"},
		{"354 go on\r\n421 4.3.2 bye", "end of data 421"},
	} {
		for _, lmtp := range []bool{false, true} {
			s := (&mtatest.Sink{LMTP: lmtp, On: part(map[string]string{"DATA": c.data})}).Start(t, "")
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			open := smtpc.New
			if lmtp {
				open = smtpc.NewLMTP
			}
			cl := open(t.Context(), conn, "client.test", smtpc.Timeouts{})
			if err := cl.Hello(); err != nil {
				t.Fatal(err)
			}
			results, usable, err := cl.Send(message(text, "b@far.test"))
			if got := show(results); err != nil || usable || got != c.want || errors.Is(results[0].Err, smtpc.ErrUnknown) {
				t.Errorf("%q: got %s (%v), usable %v; want %s", c.data, got, results[0].Err, usable, c.want)
			}
			cl.Close()
			s.Close()
			if len(s.Messages()) > 0 {
				t.Errorf("%q: the message was ended", c.data)
			}
		}
	}
}
