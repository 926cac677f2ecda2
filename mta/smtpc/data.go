package smtpc

import (
	"errors"
	"fmt"
	"io"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// beginData sends DATA where there is somebody to get it, and something to send.
func (t *transaction) beginData() error {
	switch {
	case t.m.Probe:
		t.settle("RCPT", mta.Reply{Code: 250, Enhanced: "2.1.5"}, nil)
		return t.reset()
	case t.accepted > 0 && t.m.AllOrNone && t.accepted < len(t.m.Rcpts):
		t.settle("RCPT", mta.Reply{}, ErrOthersRefused)
		return t.reset()
	case t.accepted == 0:
		return t.reset()
	}
	if err := t.exchange("DATA"); err != nil {
		return err
	}
	return t.data()
}

// data reads the reply to DATA and sends the content.
func (t *transaction) data() error {
	t.stage = "DATA"
	r, err := t.read(t.c.to.Data)
	if err != nil {
		return err
	}
	if r.Code != 354 {
		if t.accepted > 0 {
			t.settle("DATA", r, refusal(r))
		}
		if r.Positive() {
			return refusal(r)
		}
		if !t.refused {
			return t.reset()
		}
		return nil
	}
	if t.accepted == 0 {
		// A server that wants the data of nobody: an empty message keeps us in step (RFC 2920 3.1).
		if err := t.exchange("."); err != nil {
			return err
		}
		if t.c.lmtp {
			t.closing = true // how many replies it has for nobody is anybody's guess
			return nil
		}
		_, err := t.read(t.c.to.End)
		return err
	}
	return t.content()
}

// content sends the content, and the end of the data only when all of it was read.
func (t *transaction) content() error {
	t.stage = "end of data"
	w := dot.NewWriter(&blockWriter{t.c})
	buf := make([]byte, min(32<<10, max(t.m.Size, 512)))
	if _, err := io.CopyBuffer(w, &contentReader{t.m.Content}, buf); err != nil {
		if errors.Is(err, ErrContent) {
			return err
		}
		return t.words(err)
	}
	if t.c.br.Buffered() > 0 || t.c.tls == nil && !t.c.Quiet() { // what TLS has sent may be no reply
		return t.early()
	}
	if err := w.Close(); err != nil {
		return t.words(fmt.Errorf("%w: %w", ErrUnknown, err))
	}
	if t.c.lmtp {
		return t.each()
	}
	r, err := t.read(t.c.to.End)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if r.Code/100 == 2 {
		t.settle(t.stage, r, nil)
		return nil
	}
	err = refusal(r)
	t.settle(t.stage, r, err)
	if r.Positive() {
		return err
	}
	return nil
}

// early is for a server that did not wait for the end of the data, which it does not get then: it refuses the message, or
// is going away. One that takes what it has not seen does not know what it is doing.
func (t *transaction) early() error {
	r, err := t.read(t.c.to.Quit)
	if err != nil {
		return err
	}
	if r.Code/100 == 2 {
		return fmt.Errorf("%w: %s before the end of the data", smtp.ErrBadReply, r)
	}
	return refusal(r)
}

// each reads one reply for each recipient that was accepted, in their order (RFC 2033 4.2).
func (t *transaction) each() error {
	for i := range t.results {
		if t.results[i].Stage != "" {
			continue
		}
		r, err := t.read(t.c.to.End)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		if r.Code/100 == 2 {
			t.results[i] = Result{t.stage, r, nil}
			continue
		}
		err = refusal(r)
		t.results[i] = Result{t.stage, r, err}
		if r.Positive() {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
	return nil
}

// words looks for the reply of a server that has closed the connection while we wrote.
func (t *transaction) words(err error) error {
	if t.c.ctx.Err() != nil {
		return err
	}
	r, rerr := t.read(t.c.to.Quit)
	if rerr != nil || r.Positive() {
		return err
	}
	return fmt.Errorf("%w (%w)", r, err)
}
