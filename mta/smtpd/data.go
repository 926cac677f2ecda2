package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/smtp"
	"github.com/posthouse-mail/posthouse/mta/spool"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// blockSize is how much content moves at once: a TLS record holds no more (RFC 8446 5.1).
const blockSize = 16 << 10

// blocks are lent to sessions while content arrives.
var blocks = sync.Pool{New: func() any { return &block{br: bufio.NewReaderSize(nil, blockSize)} }}

type block struct {
	br  *bufio.Reader
	out [blockSize]byte
}

// data is RFC 5321 4.1.1.4.
func (s *session) data(args string) mta.Reply {
	r := s.mayData()
	if r.Code == 0 && args != "" {
		r = reply(501, "5.5.4", "DATA takes no argument")
	}
	if r.Code == 0 && s.tx.chunks != nil {
		r = chunksBegun()
	}
	if r.Code == 0 && s.outOfTurn() {
		return s.early("data", "before the reply to DATA")
	}
	if r.Code != 0 {
		s.o.Log.SMTPRejected(s.who(), "data", "", "", "", r)
		return r
	}
	in, err := s.o.Queue.Begin()
	if err != nil {
		s.o.Log.SMTPFault(s.who(), "data", "", err)
		s.o.Metrics.faults.Inc()
		return spoolReply(err)
	}
	defer in.Abort()
	s.write(reply(354, "", "End data with <CR><LF>.<CR><LF>"))
	s.c.enter(inContent)
	out := s.enlarge()
	a := s.arrival(in)
	if err = s.receive(a, dot.NewReader(s.br, s.contentRules()), out); err == nil {
		r, err = s.take(a)
	}
	if err != nil {
		s.c.enter(inCommand)
		s.fail(err)
		return mta.Reply{}
	}
	s.eachTime()
	s.reset()
	return r
}

// mayData says whether content may come now, by DATA or by BDAT.
func (s *session) mayData() mta.Reply {
	switch {
	case !s.tx.open:
		return reply(503, "5.5.1", "Send MAIL first")
	case len(s.tx.rcpts) == 0:
		if s.lmtp() { // RFC 2033 4.2
			return reply(503, "5.5.1", "No valid recipients")
		}
		return reply(554, "5.5.1", "No valid recipients")
	}
	return s.checkDisk("data")
}

func (s *session) contentRules() dot.ReaderOptions {
	local := s.l.Role == mta.RoleLocal
	return dot.ReaderOptions{MaxLine: s.o.MaxLine, RepairLF: s.o.RepairLF || local, RepairCR: local}
}

// arrival is a content on its way in, and what became known of it so far.
type arrival struct {
	in      Incoming
	dropped bool // it will be refused, and is no longer kept
	scan    message.Scan
	head    *message.Head // where the rules of submission hold
	size    int64
	faults  dot.Fault
	err     error // of the queue
}

func (s *session) arrival(in Incoming) *arrival {
	a := &arrival{in: in}
	if s.submits() {
		a.head = &message.Head{}
	}
	return a
}

// take gives the reply to a content that is complete. An error ends the session: nobody knows what became of the message.
func (s *session) take(a *arrival) (mta.Reply, error) {
	s.c.enter(inCommit)
	began := time.Now()
	r := s.verdict(a)
	if a.head != nil && r.Code == 0 {
		a.head.End()
		r = s.checkHead(a.head)
	}
	if r.Code != 0 {
		s.refuse(a, r)
		return r, nil
	}
	sender := "<" + s.tx.sender.String() + ">"
	e := s.envelope(a)
	if r, done := s.judge(a.in, e, a.size); done {
		return r, nil
	}
	switch err := a.in.Commit(e); {
	case errors.Is(err, spool.ErrUnknown):
		s.o.Log.SMTPFateUnknown(s.who(), a.in.ID(), sender, err)
		s.o.Metrics.faults.Inc()
		return mta.Reply{}, err
	case err != nil:
		s.o.Log.SMTPFault(s.who(), "content", a.in.ID(), err)
		s.o.Metrics.faults.Inc()
		return spoolReply(err), nil
	}
	s.o.Metrics.took(e)
	s.o.Metrics.answering.Observe(time.Since(began).Seconds())
	s.o.Log.SMTPAccepted(s.who(), e, s.proto())
	s.settle(mta.Committed)
	return reply(250, "2.0.0", "Queued as "+string(a.in.ID())), nil
}

// refuse logs the reply to a content that is not good.
func (s *session) refuse(a *arrival, r mta.Reply) {
	if a.err != nil {
		s.o.Log.SMTPFault(s.who(), "content", a.in.ID(), a.err)
		s.o.Metrics.faults.Inc()
		return
	}
	s.o.Log.SMTPRejected(s.who(), "content", a.in.ID(), "<"+s.tx.sender.String()+">", "", r)
}

// source is where content comes from: a dot.Reader or a dot.ChunkReader.
type source interface {
	Read(p []byte) (int, error)
	Faults() dot.Fault
}

// receive reads to the end of the data, or of the chunk, whatever is wrong with it, so that the dialogue stays in step.
// What will be refused anyway is no longer kept.
func (s *session) receive(a *arrival, from source, block []byte) error {
	for {
		n, err := from.Read(block)
		a.size += int64(n)
		a.faults = from.Faults()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if a.dropped {
			if a.size > 2*s.maxSize+1<<20 {
				return errFarTooBig
			}
			continue
		}
		_, _ = a.scan.Write(block[:n]) // never fails
		if a.head != nil {
			_, _ = a.head.Write(block[:n])
		}
		if a.size <= s.maxSize && a.faults == 0 && a.scan.Received <= s.o.MaxHops {
			_, a.err = a.in.Write(block[:n])
			a.dropped = a.err != nil
		} else {
			a.dropped = true
		}
		if a.dropped {
			a.in.Abort()
		}
	}
}

var errFarTooBig = errors.New("content far beyond max_message_size")

// verdict refuses a content; Code 0 = it is good.
func (s *session) verdict(a *arrival) mta.Reply {
	switch {
	case a.size > s.maxSize:
		return s.tooBig()
	case a.faults != 0:
		return reply(550, "5.6.0", "Message refused: "+a.faults.String())
	case a.scan.Folded: // Received would be longer by it
		return reply(550, "5.6.0", "Message refused: it begins with a folded line")
	case a.scan.Received > s.o.MaxHops:
		return reply(554, "5.4.6", "Too many hops, this message is in a loop")
	case a.err != nil:
		return spoolReply(a.err)
	}
	return mta.Reply{}
}

func (s *session) tooBig() mta.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("Message too big, the limit is %d octets", s.maxSize))
}

// spoolReply tells the client no more than it needs.
func spoolReply(err error) mta.Reply {
	if errors.Is(err, spool.ErrFull) {
		return reply(452, "4.3.1", "Insufficient system storage, try again later")
	}
	return reply(451, "4.3.0", "Cannot take the message now, try again later")
}

func (s *session) envelope(a *arrival) *mta.Envelope {
	now := time.Now()
	e := &mta.Envelope{
		Arrived: now.UTC().Truncate(time.Microsecond), Role: s.l.Role, Sender: s.tx.sender, Rcpts: s.tx.rcpts,
		Body: s.tx.body, SMTPUTF8: s.tx.utf8, Auth: s.tx.auth, Login: s.login,
		Ret: s.tx.ret, EnvID: s.tx.envID, RequireTLS: s.tx.requireTLS, DeliverBy: s.tx.by, ReleaseAt: s.tx.release, Priority: s.tx.priority,
		Origin:  mta.Origin{Listener: s.l.Name, Client: s.client(), Name: s.name(), Helo: smtp.Printable(s.helo, true)},
		Prepend: s.received(a.in.ID(), now),
	}
	if a.scan.EightBit { // whatever the client said
		e.Body = mta.Body8BitMIME
	}
	if a.head != nil {
		s.mend(e, a.in.ID(), a.head, now)
	}
	if s.tls != nil {
		e.Origin.TLS, e.Origin.Cipher = tlsconf.VersionName(s.tls.Version), tlsconf.CipherName(s.tls.CipherSuite)
	}
	return e
}

// enlarge puts a big buffer under the session, with what the small one held, and returns room for a block of content.
func (s *session) enlarge() []byte {
	if s.big == nil {
		s.big = blocks.Get().(*block)
		held, _ := s.br.Peek(s.br.Buffered())
		s.big.br.Reset(io.MultiReader(bytes.NewReader(bytes.Clone(held)), s.c))
		s.br = s.big.br
		if len(held) > 0 {
			_, _ = s.br.Peek(1) // moves all of it: a chunk of no octets reads nothing, and shrink looks at what is buffered
		}
	}
	return s.big.out[:]
}

// shrink gives the big buffer back once nothing is left in it.
func (s *session) shrink() {
	if s.big != nil && s.br.Buffered() == 0 {
		s.release()
		s.freshReader()
	}
}

// freshReader puts the small buffer, empty, under the session.
func (s *session) freshReader() {
	s.small.Reset(s.c)
	s.br = s.small
}

func (s *session) release() {
	if s.big != nil {
		s.big.br.Reset(nil)
		blocks.Put(s.big)
		s.big = nil
	}
}
