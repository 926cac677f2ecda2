package mtatest

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Drop, as the reply of a Sink, closes the connection without a word.
const Drop = "\x00drop"

// Sink is an SMTP server for tests of clients, which plays the part that On gives it.
type Sink struct {
	// On is called for each command line, and for "GREETING", "TLS" (a handshake is about to begin) and "END" (of the
	// data). It returns the whole reply, without the last CR LF; "" for the usual one; or Drop. It may wait for a channel.
	// Connections at the same time call it at the same time; one that comes because of a reply finds what was done before that.
	On func(command string) string
	// Extensions are what EHLO offers, beside STARTTLS when there is a Config.
	Extensions []string
	// Config is for STARTTLS; with Implicit, TLS comes first.
	Config   *tls.Config
	Implicit bool
	// LMTP makes it an LMTP server: LHLO in place of EHLO, and "END" is asked for each recipient, as "END <bob@far.test>".
	LMTP bool

	listener net.Listener
	done     sync.WaitGroup
	calls    atomic.Int64 // of On, begun and ended: what one has done is there for the next

	mu       sync.Mutex // guards what follows
	open     map[net.Conn]bool
	closed   bool
	commands []string
	messages []SinkMessage
	conns    int
}

// SinkMessage is a message that a Sink has taken.
type SinkMessage struct {
	Mail  string   // the MAIL command's argument
	Rcpts []string // the RCPT commands' arguments, those that were accepted
	Data  string   // dots unstuffed, line ends as they came
	TLS   bool
}

// Start begins to serve on an address of the loopback interface, "127.0.0.1:0" if it is empty, or on a Unix socket, until
// the test ends.
func (s *Sink) Start(t testing.TB, addr string) *Sink {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return s.StartOn(t, l)
}

// StartOn is Start with a socket that is there.
func (s *Sink) StartOn(t testing.TB, l net.Listener) *Sink {
	t.Helper()
	s.listener = l
	t.Cleanup(s.Close)
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.Serve(c) })
		}
	})
	return s
}

// Close ends the listener and all connections, and waits for them.
func (s *Sink) Close() {
	_ = s.listener.Close() // a second Close is harmless
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// Addr is "127.0.0.1:port".
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Port is Addr's.
func (s *Sink) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Messages returns what was taken so far.
func (s *Sink) Messages() []SinkMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]SinkMessage(nil), s.messages...)
}

// Commands returns the command lines of all connections so far.
func (s *Sink) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Conns returns how many connections there were.
func (s *Sink) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

type sinkSession struct {
	s    *Sink
	conn net.Conn
	br   *bufio.Reader
	msg  SinkMessage
	open bool // there was a MAIL
}

// Serve plays the part on one connection, and closes it.
func (s *Sink) Serve(c net.Conn) {
	s.mu.Lock()
	if s.open == nil {
		s.open = map[net.Conn]bool{}
	}
	if s.closed {
		s.mu.Unlock()
		_ = c.Close()
		return
	}
	s.open[c] = true
	s.conns++
	s.mu.Unlock()
	x := &sinkSession{s: s, conn: c, br: bufio.NewReader(c)}
	x.run()
	_ = x.conn.Close()
	_ = c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

func (x *sinkSession) run() {
	if x.s.Implicit && !x.shake() {
		return
	}
	if !x.reply("GREETING", "220 sink.test ESMTP") {
		return
	}
	for {
		line, err := x.br.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		x.s.mu.Lock()
		x.s.commands = append(x.s.commands, line)
		x.s.mu.Unlock()
		if !x.command(line) {
			return
		}
	}
}

// reply sends what On says, else the usual reply; false ends the connection.
func (x *sinkSession) reply(command, usual string) bool {
	_, ok := x.say(command, usual)
	return ok
}

func (x *sinkSession) say(command, usual string) (said string, ok bool) {
	said = x.decide(command, usual)
	return said, x.send(said)
}

func (x *sinkSession) decide(command, usual string) string {
	if r := x.on(command); r != "" {
		return r
	}
	return usual
}

func (x *sinkSession) on(command string) string {
	if x.s.On == nil {
		return ""
	}
	x.s.calls.Add(1)
	defer x.s.calls.Add(1)
	return x.s.On(command)
}

func (x *sinkSession) send(said string) bool {
	if said == Drop {
		return false
	}
	_, err := x.conn.Write([]byte(said + "\r\n"))
	return err == nil
}

func (x *sinkSession) command(line string) bool {
	verb, args, _ := strings.Cut(line, " ")
	hello := "EHLO"
	if x.s.LMTP {
		hello = "LHLO"
	}
	switch strings.ToUpper(verb) {
	case hello:
		list := append([]string{"sink.test"}, x.s.Extensions...)
		if _, ok := x.conn.(*tls.Conn); x.s.Config != nil && !ok {
			list = append(list, "STARTTLS")
		}
		last := len(list) - 1
		for i := range last {
			list[i] = "250-" + list[i]
		}
		list[last] = "250 " + list[last]
		return x.reply(line, strings.Join(list, "\r\n"))
	case "MAIL":
		x.msg = SinkMessage{}
		said, ok := x.say(line, "250 2.1.0 ok")
		if x.open = strings.HasPrefix(said, "2"); x.open {
			x.msg.Mail = args
		}
		return ok
	case "RCPT":
		usual := "250 2.1.5 ok"
		if !x.open {
			usual = "503 5.5.1 no MAIL"
		}
		said, ok := x.say(line, usual)
		if strings.HasPrefix(said, "2") {
			x.msg.Rcpts = append(x.msg.Rcpts, args)
		}
		return ok
	case "DATA":
		usual := "354 go on"
		if len(x.msg.Rcpts) == 0 {
			usual = "503 5.5.1 no recipients"
		}
		said, ok := x.say(line, usual)
		return ok && (!strings.HasPrefix(said, "354") || x.data())
	case "STARTTLS":
		said, ok := x.say(line, "220 2.0.0 go on")
		return ok && (!strings.HasPrefix(said, "220") || x.shake())
	case "AUTH":
		return x.reply(line, "235 2.7.0 ok")
	case "EHLO", "LHLO":
		return x.reply(line, "500 5.5.1 not here")
	case "QUIT":
		x.reply(line, "221 2.0.0 bye")
		return false
	}
	return x.reply(line, "250 2.0.0 ok")
}

func (x *sinkSession) data() bool {
	var b strings.Builder
	for {
		line, err := x.br.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	x.msg.Data = b.String()
	_, x.msg.TLS = x.conn.(*tls.Conn)
	if x.s.LMTP {
		return x.each()
	}
	said := x.decide("END", "250 2.0.0 taken")
	if strings.HasPrefix(said, "2") {
		x.s.mu.Lock()
		x.s.messages = append(x.s.messages, x.msg)
		x.s.mu.Unlock()
	}
	return x.send(said) // who reads the reply finds the message in Messages
}

// each answers for each recipient; those who have it are the message's.
func (x *sinkSession) each() bool {
	all := x.msg.Rcpts
	x.msg.Rcpts = nil
	var replies []string
	for _, r := range all {
		said := x.decide("END "+strings.TrimPrefix(r, "TO:"), "250 2.0.0 taken")
		if strings.HasPrefix(said, "2") {
			x.msg.Rcpts = append(x.msg.Rcpts, r)
		}
		replies = append(replies, said)
	}
	x.s.mu.Lock()
	x.s.messages = append(x.s.messages, x.msg)
	x.s.mu.Unlock()
	for _, said := range replies {
		if !x.send(said) {
			return false
		}
	}
	return true
}

func (x *sinkSession) shake() bool {
	if r := x.on("TLS"); r == Drop {
		return false
	} else if r != "" {
		_, _ = x.br.ReadByte() // the client has begun: garbage in place of a handshake
		_, _ = x.conn.Write([]byte(r + "\r\n"))
		return false
	}
	t := tls.Server(x.conn, x.s.Config)
	if t.Handshake() != nil {
		return false
	}
	x.conn, x.br = t, bufio.NewReader(t)
	return true
}
