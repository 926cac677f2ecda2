package smtpc

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Why a transaction was not begun: the server does not offer what the message needs. The connection is still good.
var (
	ErrTooLarge = errors.New("message larger than the server takes")        // RFC 1870 6.1
	ErrNo8Bit   = errors.New("server does not take 8-bit content")          // RFC 6152 3
	ErrNoUTF8   = errors.New("server does not take addresses beyond ASCII") // RFC 6531 3.2
	ErrDeadline = errors.New("server does not promise delivery in time")    // RFC 2852 4.1
	// ErrNoRequireTLS: nor does it promise to ask of the next host what the sender asks (RFC 8689 4.2.1).
	ErrNoRequireTLS = errors.New("server does not require TLS all the way")
)

var (
	// ErrUnknown says that the end of the data was sent, or may have been, and no reply came: the server may have the
	// message or not (RFC 5321 4.5.3.2.6).
	ErrUnknown = errors.New("no reply to the end of data")
	// ErrOthersRefused is for the recipients that were accepted, where others were not and Message.AllOrNone.
	ErrOthersRefused = errors.New("other recipients were refused, so none gets it")
	// ErrContent is wrapped by an error of reading the content; the server was not given the end of the data.
	ErrContent = errors.New("read content")
)

// batch is how many commands go out before their replies are read: few enough that neither side's buffers fill while
// both of them write (RFC 2920 3.1).
const batch = 50

// Message is what one transaction sends.
type Message struct {
	From     mta.Address
	Rcpts    []mta.Recipient // at least one
	Size     int64           // of the content, in octets
	EightBit bool            // there are octets beyond ASCII in it
	SMTPUTF8 bool            // an address or the header is beyond ASCII
	// RequireTLS: the sender wants TLS all the way, beyond this server too (RFC 8689).
	RequireTLS bool
	// AllOrNone: where one recipient is refused, none gets the message.
	AllOrNone bool
	// Probe: only MAIL and RCPT are sent, to learn which recipients the server takes; there is no content.
	Probe    bool
	Ret      string         // FULL, HDRS or "" (RFC 3461 4.3); this and the next for a server with DSN
	EnvID    string         // as xtext (RFC 3461 4.4)
	By       *mta.DeliverBy // nil: no deadline (RFC 2852)
	Priority int            // -9 to 9, for a server with MT-PRIORITY (RFC 6710)
	Content  io.Reader      // lines end in CR LF; read only when the server waits for it
}

// Result is what became of one recipient: delivered when Err is nil. Otherwise Err is a mta.Reply that refuses (in
// errors.As), ErrUnknown, or an error of the connection.
type Result struct {
	Stage string // MAIL, RCPT, DATA, or "end of data": where it was decided
	Reply mta.Reply
	Err   error
}

// Send runs one transaction. The error is one of ErrTooLarge, ErrNo8Bit, ErrNoUTF8 and ErrDeadline, and then nothing was sent;
// otherwise there is a Result for each recipient, in order. Usable then says whether another transaction may follow on
// the connection.
func (c *Client) Send(m Message) (results []Result, usable bool, err error) {
	if err := c.check(m); err != nil {
		return nil, true, err
	}
	t := &transaction{c: c, m: m, results: make([]Result, len(m.Rcpts)), stage: "MAIL"}
	if c.ext.Has("PIPELINING") {
		err = t.pipelined()
	} else {
		err = t.stepwise()
	}
	var said mta.Reply
	if err != nil && t.farewell.Code != 0 && !errors.Is(err, ErrUnknown) && !errors.As(err, &said) {
		err = fmt.Errorf("%w (%w)", t.farewell, err) // why the connection was lost
	}
	for i := range t.results {
		if r := &t.results[i]; r.Stage == "" {
			r.Stage, r.Err = t.stage, err
			_ = errors.As(err, &r.Reply)
		}
	}
	// What came without being asked for would be taken for the reply to the next transaction's commands.
	return t.results, err == nil && !t.closing && c.br.Buffered() == 0, nil
}

func (c *Client) check(m Message) error {
	switch limit := c.ext.Size(); {
	case m.RequireTLS && (c.tls == nil || !c.ext.Has("REQUIRETLS")):
		return ErrNoRequireTLS
	case limit > 0 && m.Size > limit:
		return fmt.Errorf("%w: %d octets, limit %d", ErrTooLarge, m.Size, limit)
	case m.SMTPUTF8 && !c.ext.Has("SMTPUTF8"):
		return ErrNoUTF8
	case m.EightBit && !c.ext.Has("8BITMIME"):
		return ErrNo8Bit
	}
	return c.checkDeadline(m.By)
}

// transaction is the state of one Send. An error of its methods means that the connection is lost; recipients that
// have no result by then share it.
type transaction struct {
	c        *Client
	m        Message
	results  []Result
	stage    string    // of the command whose reply is awaited
	accepted int       // recipients so far
	refused  bool      // MAIL was
	closing  bool      // the server said 421
	farewell mta.Reply // which was that
}

func (t *transaction) mail() string {
	s := "MAIL FROM:<" + t.m.From.String() + ">"
	if t.c.ext.Has("SIZE") && !t.m.Probe {
		s += " SIZE=" + strconv.FormatInt(t.m.Size, 10)
	}
	if t.c.ext.Has("8BITMIME") && t.m.EightBit {
		s += " BODY=8BITMIME"
	}
	if t.m.RequireTLS {
		s += " REQUIRETLS"
	}
	if t.m.SMTPUTF8 {
		s += " SMTPUTF8"
	}
	return s + t.c.reportParams(t.m.Ret, t.m.EnvID) + t.c.deadlineParam(t.m.By) + t.c.priorityParam(t.m.Priority)
}

func (t *transaction) rcpt(i int) string {
	r := t.m.Rcpts[i]
	return "RCPT TO:<" + r.Address.String() + ">" + t.c.rcptParams(r, t.m.SMTPUTF8)
}

// stepwise waits for each reply before the next command.
func (t *transaction) stepwise() error {
	if err := t.exchange(t.mail()); err != nil {
		return err
	}
	if err := t.readMail(); err != nil || t.refused {
		return err
	}
	for i := range t.m.Rcpts {
		if err := t.exchange(t.rcpt(i)); err != nil {
			return err
		}
		if err := t.readRcpt(i); err != nil {
			return err
		}
	}
	return t.beginData()
}

func (t *transaction) exchange(lines ...string) error { return t.c.write(t.c.to.Block, lines...) }

// pipelined sends MAIL, the RCPTs and DATA in groups (RFC 2920 3.1).
func (t *transaction) pipelined() error {
	lines := []string{t.mail()}
	next := 0 // the first recipient whose reply is not read
	for i := range t.m.Rcpts {
		lines = append(lines, t.rcpt(i))
		last := i == len(t.m.Rcpts)-1
		if last && !t.m.AllOrNone && !t.m.Probe {
			lines = append(lines, "DATA")
		} else if !last && len(lines) < batch {
			continue
		}
		t.stage = "MAIL"
		if next > 0 {
			t.stage = "RCPT"
		}
		if err := t.exchange(lines...); err != nil {
			return t.words(err)
		}
		lines = lines[:0]
		if next == 0 {
			if err := t.readMail(); err != nil {
				return err
			}
		}
		for ; next <= i; next++ {
			if err := t.readRcpt(next); err != nil {
				return err
			}
		}
		if t.refused && !last {
			return t.reset()
		}
	}
	if t.m.AllOrNone || t.m.Probe {
		return t.beginData()
	}
	return t.data()
}

// readMail reads the reply to MAIL. A refusal is that of every recipient.
func (t *transaction) readMail() error {
	t.stage = "MAIL"
	r, err := t.read(t.c.to.Command)
	switch {
	case err != nil || r.Code/100 == 2:
		return err
	case r.Positive(): // whatever it is waiting for
		return refusal(r)
	}
	t.refused = true
	for i := range t.results {
		t.results[i] = Result{"MAIL", r, refusal(r)}
	}
	return nil
}

func (t *transaction) readRcpt(i int) error {
	t.stage = "RCPT"
	r, err := t.read(t.c.to.Command)
	switch {
	case err != nil || t.refused:
		return err
	case r.Code/100 == 2:
		t.accepted++
		return nil
	case r.Positive():
		return refusal(r)
	case r.Code == 552 && (r.Enhanced == "" || r.Enhanced == "5.5.3"):
		r.Code, r.Enhanced = 452, "4.5.3" // too many recipients, as old servers say it (RFC 5321 4.5.3.1.10)
	}
	t.results[i] = Result{"RCPT", r, refusal(r)}
	return nil
}

func (t *transaction) reset() error {
	if t.closing {
		return nil
	}
	if err := t.exchange("RSET"); err != nil {
		t.closing = true // the transaction itself is decided
		return nil
	}
	if _, err := t.read(t.c.to.Command); err != nil {
		t.closing = true
	}
	return nil
}

// settle gives a result to the recipients that were accepted.
func (t *transaction) settle(stage string, r mta.Reply, err error) {
	for i := range t.results {
		if t.results[i].Stage == "" {
			t.results[i] = Result{stage, r, err}
		}
	}
}

func (t *transaction) read(d time.Duration) (mta.Reply, error) {
	r, err := t.c.read(d)
	if r.Code == 421 {
		t.closing, t.farewell = true, r
	}
	return r, err
}
