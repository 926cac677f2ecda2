package smtpd

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// Filters judge sessions before mail is accepted.
type Filters interface {
	// Session is asked once for each session; nil where no filter cares for the role.
	Session(role string) FilterSession
}

// FilterSession goes along with one session, in its goroutine. What the filters of a stage found is known at the later
// ones, until Reset ends the transaction.
type FilterSession interface {
	// Asks says whether any filter cares for a stage. Where none does the session need not wait for the client's name.
	Asks(stage mta.Stage, role string) bool
	// Ask judges a stage before the message.
	Ask(ctx context.Context, e *mta.Event) mta.Verdict
	// Message judges the whole message, whose content of env.Size octets is in mem, or in the file at path where that is set,
	// and writes what is to change into env. Where it returns a reader, what that gives takes the content's place.
	Message(ctx context.Context, e *mta.Event, env *mta.Envelope, mem []byte, path string) (mta.Verdict, io.ReadCloser)
	// Reset ends the transaction; fate is zero where nothing more is known: a message that was judged was refused then.
	Reset(fate mta.Fate)
	// End comes last.
	End()
}

// rereadable is an Incoming that shows what was written to it, and takes another content instead: filters need both.
type rereadable interface {
	Content() (mem []byte, path string, err error)
	Restart()
}

// maxFilterDelay bounds how long a filter may let a client wait.
const maxFilterDelay = time.Minute

var errNotRereadable = errors.New("the queue cannot show a message to filters")

// ask puts a stage before the message to the filters; Code 0 = go on.
func (s *session) ask(stage mta.Stage, tx *transaction, rcpt mta.Address) mta.Reply {
	if s.filters == nil || !s.filters.Asks(stage, s.l.Role) {
		return mta.Reply{}
	}
	e := s.event(stage, tx)
	e.Rcpt = rcpt
	v := s.filters.Ask(s.c.ctx, e)
	s.pause(v.Delay)
	if v.Action == mta.Refuse || v.Action == mta.NotJudged {
		return v.Reply
	}
	return mta.Reply{} // a message that is to be thrown away comes to its end first
}

// askConnect asks before the greeting; false ends the session, which was told why.
func (s *session) askConnect() bool {
	if s.o.Filters == nil {
		return true
	}
	s.filters = s.o.Filters.Session(s.l.Role)
	r := s.ask(mta.AtConnect, &s.tx, mta.Address{})
	if r.Code == 0 {
		return true
	}
	s.o.Log.SMTPRejected(s.who(), "connect", "", "", "", r)
	s.o.Metrics.refused.WithLabelValues("connect", refusal(r)).Inc()
	s.reason = "refused by a filter"
	if r.Temporary() {
		r.Code, r.Enhanced = 421, ""
	} else {
		r.Code, r.Enhanced = 554, "" // RFC 5321 3.1
	}
	s.write(r)
	s.finish()
	return false
}

// judge puts a whole message to the filters, which may change e and the content. done says that r is the reply.
func (s *session) judge(in Incoming, e *mta.Envelope, size int64) (r mta.Reply, done bool) {
	if s.filters == nil {
		return mta.Reply{}, false
	}
	sender := "<" + e.Sender.String() + ">"
	v, err := s.judged(in, e, size)
	if err != nil {
		s.o.Log.SMTPFault(s.who(), "content", in.ID(), err)
		return spoolReply(err), true
	}
	s.pause(v.Delay)
	switch v.Action {
	case mta.Refuse, mta.NotJudged:
		s.o.Log.SMTPRejected(s.who(), "content", in.ID(), sender, "", v.Reply)
		return v.Reply, true
	case mta.Throw:
		s.filters.Reset(mta.Dropped)
		s.o.Log.SMTPDiscarded(s.who(), in.ID(), sender, v.By)
		s.o.Metrics.discards.Inc()
		return reply(250, "2.0.0", "Queued as "+string(in.ID())), true
	}
	return mta.Reply{}, false
}

func (s *session) judged(in Incoming, e *mta.Envelope, size int64) (mta.Verdict, error) {
	q, ok := in.(rereadable)
	if !ok {
		return mta.Verdict{}, errNotRereadable
	}
	mem, path, err := q.Content()
	if err != nil {
		return mta.Verdict{}, err
	}
	e.ID, e.Size = in.ID(), size
	v, replaced := s.filters.Message(s.c.ctx, s.event(mta.AtMessage, &s.tx), e, mem, path)
	if replaced == nil {
		return v, nil
	}
	defer replaced.Close()
	if v.Action != mta.GoOn {
		return v, nil
	}
	q.Restart()
	_, err = io.Copy(in, replaced)
	return v, err
}

// endFilters is for the session's end.
func (s *session) endFilters() {
	if s.filters != nil {
		s.filters.End()
	}
}

// settle ends the transaction for the filters.
func (s *session) settle(fate mta.Fate) {
	if s.filters != nil {
		s.filters.Reset(fate)
	}
}

// pause lets the client wait, as a filter wants it.
func (s *session) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(min(d, maxFilterDelay))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.c.ctx.Done():
	case <-s.c.draining:
	}
}

// event is what is known of the session and the transaction.
func (s *session) event(stage mta.Stage, tx *transaction) *mta.Event {
	e := &mta.Event{
		Stage: stage, Session: s.id, Role: s.l.Role, Listener: s.l.Name, Client: s.remote, Name: s.name(),
		Login: s.login, Helo: smtp.Printable(s.helo, true), ESMTP: s.esmtp,
		HasSender: tx.open, Sender: tx.sender, Body: tx.body, SMTPUTF8: tx.utf8, Auth: tx.auth, Size: tx.size, Rcpts: tx.rcpts,
	}
	if s.peer != nil {
		e.Local, e.UID = true, s.peer.UID
	}
	if s.tls != nil {
		e.TLS, e.Cipher = tlsconf.VersionName(s.tls.Version), tlsconf.CipherName(s.tls.CipherSuite)
	}
	return e
}
