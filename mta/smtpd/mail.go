package smtpd

import (
	"errors"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// mail is RFC 5321 4.1.1.2.
func (s *session) mail(args string) mta.Reply {
	r, sender := s.beginMail(args)
	if r.Code != 250 {
		s.o.Log.SMTPRejected(s.who(), "mail", "", sender, "", r)
	}
	return r
}

func (s *session) beginMail(args string) (r mta.Reply, sender string) {
	switch {
	case s.helo == "":
		return s.unnamed(), ""
	case s.tx.open:
		return reply(503, "5.5.1", "A transaction is open already"), ""
	}
	if r := s.needsLogin(); r.Code != 0 {
		return r, ""
	}
	if r := s.mayDeliver(); r.Code != 0 {
		return r, ""
	}
	from, params, err := smtp.ParseFrom(args)
	if err != nil {
		return badPath(err, "5.1.7", "MAIL FROM:<address>"), ""
	}
	sender = "<" + from.String() + ">"
	tx := transaction{open: true, sender: from, seen: map[mta.Address]bool{}}
	if r := s.mailParams(&tx, params); r.Code != 0 {
		return r, sender
	}
	if !from.IsASCII() && !tx.utf8 {
		return reply(553, "5.6.7", "This address needs SMTPUTF8"), sender
	}
	if r := s.maySend("mail", from); r.Code != 0 {
		return r, sender
	}
	if r := s.checkDisk("mail"); r.Code != 0 {
		return r, sender
	}
	if r := s.ask(mta.AtSender, &tx, mta.Address{}); r.Code != 0 {
		s.settle(0)
		return r, sender
	}
	s.tx = tx
	return reply(250, "2.1.0", "OK"), sender
}

// needsLogin refuses what a submission port takes from nobody unknown (RFC 6409 4.3).
func (s *session) needsLogin() mta.Reply {
	switch {
	case s.l.Role != mta.RoleSubmission || s.login != "" || s.trusted():
		return mta.Reply{}
	case s.offersTLS():
		return reply(530, "5.7.0", "Must issue a STARTTLS command first")
	}
	return reply(530, "5.7.0", "Authentication required")
}

// checkDisk answers 452 while the spool's disk has no room.
func (s *session) checkDisk(stage string) mta.Reply {
	if s.o.Disk == nil {
		return mta.Reply{}
	}
	if err := s.o.Disk(); err != nil {
		s.o.Log.SMTPFault(s.who(), stage, "", err)
		return reply(452, "4.3.1", "Insufficient system storage, try again later")
	}
	return mta.Reply{}
}

// badPath answers an error of smtp.ParseFrom and ParseTo.
func badPath(err error, enhanced, want string) mta.Reply {
	switch {
	case errors.Is(err, smtp.ErrPath):
		return reply(501, enhanced, "Bad address syntax")
	case errors.Is(err, smtp.ErrParameter):
		return reply(501, "5.5.4", "Bad parameter syntax")
	}
	return reply(501, "5.5.4", "Syntax: "+want)
}
