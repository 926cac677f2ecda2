package smtpd

import (
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// wishes are what MAIL's parameters ask of the queue.
type wishes struct {
	ret, envID string // RFC 3461
	requireTLS bool   // RFC 8689
	by         *mta.DeliverBy
	release    time.Time // RFC 4865; zero = now
	priority   int       // RFC 6710
}

func (s *session) mailParams(tx *transaction, params []smtp.Param) mta.Reply {
	if len(params) > 0 && !s.esmtp {
		return reply(555, "5.5.4", "Parameters need EHLO")
	}
	for _, p := range params {
		if r := s.mailParam(tx, p); r.Code != 0 {
			return r
		}
	}
	if by := tx.by; by != nil && by.At.Before(tx.release) { // RFC 4865 4
		return reply(501, "5.5.4", "The message would be released behind its deadline")
	}
	return mta.Reply{}
}

func (s *session) mailParam(tx *transaction, p smtp.Param) mta.Reply {
	good := false
	switch p.Key {
	case "SIZE":
		return s.sizeParam(tx, p.Value)
	case "BODY":
		tx.body = strings.ToUpper(p.Value)
		good = tx.body == mta.Body7Bit || tx.body == mta.Body8BitMIME
	case "SMTPUTF8":
		tx.utf8, good = true, !p.Set
	case "AUTH":
		return s.authParam(tx, p)
	case "RET":
		tx.ret = strings.ToUpper(p.Value)
		good = tx.ret == "FULL" || tx.ret == "HDRS"
	case "ENVID":
		tx.envID, good = p.Value, smtp.CheckEnvID(p.Value) == nil
	default:
		return s.offeredParam(tx, p)
	}
	if !good {
		return badParam(p)
	}
	return mta.Reply{}
}

// offeredParam takes the parameters of extensions that not every listener offers.
func (s *session) offeredParam(tx *transaction, p smtp.Param) mta.Reply {
	var err error
	switch {
	case p.Key == "REQUIRETLS" && s.offersRequireTLS():
		tx.requireTLS = true
		if p.Set {
			err = smtp.ErrParameter
		}
	case p.Key == "BY" && s.o.DeliverBy:
		by := &mta.DeliverBy{}
		var left time.Duration
		left, by.Mode, err = smtp.ParseBy(p.Value)
		by.At = now().Add(left)
		tx.by = by
	case (p.Key == "HOLDFOR" || p.Key == "HOLDUNTIL") && s.offersFutureRelease():
		return s.holdParam(tx, p)
	case p.Key == "MT-PRIORITY" && s.offersPriority():
		tx.priority, err = smtp.ParsePriority(p.Value)
	default:
		return reply(555, "5.5.4", "Parameter "+p.Key+" not recognized")
	}
	if err != nil {
		return badParam(p)
	}
	return mta.Reply{}
}

// holdParam is RFC 4865 4. A time that has passed is now: what was meant to go out by then should go.
func (s *session) holdParam(tx *transaction, p smtp.Param) mta.Reply {
	if !tx.release.IsZero() {
		return reply(501, "5.5.4", "Only one of HOLDFOR and HOLDUNTIL")
	}
	var err error
	at := now()
	last := at.Add(s.o.FutureRelease)
	if p.Key == "HOLDFOR" {
		var d time.Duration
		d, err = smtp.ParseHoldFor(p.Value)
		at = at.Add(d)
	} else {
		at, err = smtp.ParseHoldUntil(p.Value)
	}
	if err != nil {
		return badParam(p)
	}
	if at.After(last) {
		return reply(501, "5.5.4", "The message cannot be held so long, "+last.Format(time.RFC3339)+" is the latest")
	}
	tx.release = at
	return mta.Reply{}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// sizeParam is RFC 1870 6.1.
func (s *session) sizeParam(tx *transaction, value string) mta.Reply {
	n, err := smtp.ParseSize(value)
	if err != nil {
		return badParam(smtp.Param{Key: "SIZE"})
	}
	if n > s.maxSize {
		return s.tooBig()
	}
	tx.size = n
	return mta.Reply{}
}

// authParam is RFC 4954 5: a mailbox or <>; only who has logged in can vouch for another.
func (s *session) authParam(tx *transaction, p smtp.Param) mta.Reply {
	v, err := smtp.DecodeXtext(p.Value)
	if err != nil || v == "" || len(p.Value) > 500 {
		return badParam(p)
	}
	if v != "<>" {
		if _, err := mta.ParseAddress(v); err != nil {
			return badParam(p)
		}
	}
	tx.auth = "<>"
	if s.login != "" {
		tx.auth = p.Value
	}
	return mta.Reply{}
}

// rcptParams are NOTIFY and ORCPT (RFC 3461 4.1, 4.2).
func (s *session) rcptParams(rcpt *mta.Recipient, params []smtp.Param) mta.Reply {
	if len(params) > 0 && !s.esmtp {
		return reply(555, "5.5.4", "Parameters need EHLO")
	}
	for _, p := range params {
		good := false
		switch p.Key {
		case "NOTIFY":
			var n smtp.Notify
			n, good = smtp.ParseNotify(p.Value)
			rcpt.Notify = n.String()
		case "ORCPT":
			rcpt.ORcpt, good = p.Value, smtp.CheckORcpt(p.Value, s.tx.utf8) == nil
		default:
			return reply(555, "5.5.4", "Parameter "+p.Key+" not recognized")
		}
		if !good {
			return badParam(p)
		}
	}
	return mta.Reply{}
}

func badParam(p smtp.Param) mta.Reply {
	return reply(501, "5.5.4", "Bad value of parameter "+p.Key)
}
