package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// trouble is a reason of ours not to go on with a host. It defers.
type trouble struct {
	enhanced string
	text     string // may be shown to the sender
	cause    error
}

func (t *trouble) Error() string { return fmt.Sprintf("%s: %v", t.text, t.cause) }
func (t *trouble) Unwrap() error { return t.cause }

func (d *delivery) failed(code int, enhanced, text string, cause error) mta.Outcome {
	return mta.Outcome{Status: mta.Failed, Code: code, Enhanced: enhanced, Text: text, At: d.opt.Now(), Cause: cause}
}

func (d *delivery) deferred(code int, enhanced, text string, cause error) mta.Outcome {
	return mta.Outcome{Status: mta.Deferred, Code: code, Enhanced: enhanced, Text: text, At: d.opt.Now(), Cause: cause}
}

// outcome is what an error with a host means for a recipient, or what the reply of a success says.
func (d *delivery) outcome(p peer, state *tls.ConnectionState, stage string, r mta.Reply, err error) mta.Outcome {
	var o mta.Outcome
	var reply mta.Reply
	var t *trouble
	host := ""
	switch {
	case err == nil:
		host = p.host
		o = words(mta.Delivered, r)
	case errors.As(err, &t):
		o = d.deferred(451, t.enhanced, p.host+": "+t.text, t.cause)
	case errors.As(err, &reply):
		host = p.host
		o = words(mta.Deferred, reply)
		if reply.Permanent() {
			o.Status = mta.Failed
		}
	case errors.Is(err, smtpc.ErrContent):
		return d.deferred(451, "4.3.0", "message cannot be read just now", err)
	case errors.Is(err, smtpc.ErrUnknown):
		o = d.deferred(451, "4.4.2", "connection to "+p.host+" was lost after the message; it may arrive twice", err)
	case errors.Is(err, smtp.ErrBadReply):
		o = d.deferred(451, "4.5.0", p.host+" answers with what is no SMTP", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		o = d.deferred(451, "4.4.2", p.host+" did not answer in time", err)
	default:
		o = d.deferred(451, "4.4.2", "connection to "+p.host+" was lost", err)
	}
	if err != nil && o.Cause == nil {
		o.Cause = fmt.Errorf("%s: %w", stage, err)
	}
	o.Host, o.Addr, o.At = host, p.String(), d.opt.Now()
	if state != nil {
		o.TLS = tlsconf.Describe(*state)
	}
	return o
}

// maxWords bounds what is kept of a reply, in octets. It is written down and reported for each recipient: a host with much
// to say must not make a report of many megabytes out of a small message.
const maxWords = 2000

// words carries the remote's reply over; package smtp has made it printable.
func words(s mta.Status, r mta.Reply) mta.Outcome {
	text := strings.ReplaceAll(r.Text, "\n", " ")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + " ..."
	}
	return mta.Outcome{Status: s, Code: r.Code, Enhanced: r.Enhanced, Text: text}
}

// settle gives a recipient its outcome.
func (d *delivery) settle(i int, o mta.Outcome) {
	d.out[i] = o
	d.judged = true
	delete(d.open, i)
}

func (d *delivery) settleAll(o mta.Outcome) {
	for i := range d.open {
		d.settle(i, o)
	}
}
