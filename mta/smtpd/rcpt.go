package smtpd

import (
	"context"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// rcpt is RFC 5321 4.1.1.3.
func (s *session) rcpt(args string) mta.Reply {
	r, to := s.addRecipient(args)
	if r.Code != 250 {
		sender := ""
		if s.tx.open {
			sender = "<" + s.tx.sender.String() + ">"
		}
		s.o.Log.SMTPRejected(s.who(), "rcpt", "", sender, to, r)
		s.slow(r)
		// Who hands over what others have sent has to hear of each; an end of the session would have the good ones wait.
		s.spared = r.Code >= 550 && !s.stranger()
	}
	return r
}

func (s *session) addRecipient(args string) (r mta.Reply, shown string) {
	if !s.tx.open {
		return reply(503, "5.5.1", "Send MAIL first"), ""
	}
	if s.tx.chunks != nil {
		return chunksBegun(), ""
	}
	to, params, err := smtp.ParseTo(args)
	if err != nil {
		return badPath(err, "5.1.3", "RCPT TO:<address>"), ""
	}
	shown = "<" + to.String() + ">"
	rcpt := mta.Recipient{}
	if r := s.rcptParams(&rcpt, params); r.Code != 0 {
		return r, shown
	}
	if !to.IsASCII() && !s.tx.utf8 {
		return reply(553, "5.6.7", "This address needs SMTPUTF8"), shown
	}
	if to.Domain == "" { // <postmaster>
		to.Domain = strings.ToLower(s.o.Hostname)
	}
	if s.tx.seen[to] {
		s.tx.taken++
		return reply(250, "2.1.5", "OK"), shown // twice is once
	}
	if len(s.tx.rcpts) >= s.o.MaxRecipients {
		return reply(452, "4.5.3", "Too many recipients, send the rest in another transaction"), shown
	}
	d, r := s.route(to)
	if r.Code != 0 {
		return r, shown
	}
	own := d.Login.Domain != "" && strings.EqualFold(to.Local, d.Login.Local) // and no folder of it
	if own && s.tx.seen[d.Login] {
		s.tx.taken++
		return reply(250, "2.1.5", "OK"), shown // the same mailbox by another spelling, or in a domain of another name
	}
	if r := s.policyFor(to); r.Code != 0 {
		return r, shown
	}
	if r := s.rate(); r.Code != 0 {
		return r, shown
	}
	if r := s.verify(d.Verify); r.Code != 0 {
		return r, shown
	}
	if r := s.ask(mta.AtRecipient, &s.tx, to); r.Code != 0 {
		return r, shown
	}
	s.tx.taken++
	s.tx.seen[to] = true
	if own {
		s.tx.seen[d.Login] = true
	}
	rcpt.Address = to
	s.tx.rcpts = append(s.tx.rcpts, rcpt)
	return reply(250, "2.1.5", "OK"), shown
}

// lookupTime bounds a question to the router.
const lookupTime = 30 * time.Second

func (s *session) accept(to mta.Address) (Destination, error) {
	ctx, cancel := context.WithTimeout(s.c.ctx, lookupTime)
	defer cancel()
	return s.o.Router.Accept(ctx, to)
}

// route refuses whom the router does not know, and relaying for strangers. Our postmaster is always there
// (RFC 5321 4.5.1).
func (s *session) route(to mta.Address) (Destination, mta.Reply) {
	d, err := s.accept(to)
	switch {
	case err != nil:
		s.o.Log.SMTPFault(s.who(), "rcpt", "", err)
		return d, reply(451, "4.3.0", "Cannot look the recipient up now, try again later")
	case d.Relay && (s.login == "" && !s.trusted() || s.lmtp()):
		return d, reply(550, "5.7.1", "Relaying denied")
	case !d.Relay && strings.EqualFold(to.Local, "postmaster"):
		return Destination{}, mta.Reply{}
	case d.Refusal.Code == 0 && s.tooLarge(d.Quota):
		return d, reply(552, "5.2.3", "The message is larger than this mailbox may grow")
	case d.Refusal.Code == 0 && s.full(d.Login):
		if s.o.FullBounces {
			return d, reply(552, "5.2.2", "The mailbox is full")
		}
		return d, reply(452, "4.2.2", "The mailbox is full, try again later")
	}
	return d, d.Refusal
}

// verify asks the host that the mail goes on to. Who may relay has a queue here that tries again: only a host that says no is heard.
func (s *session) verify(ask func(context.Context) mta.Reply) mta.Reply {
	if ask == nil {
		return mta.Reply{}
	}
	ctx, cancel := context.WithTimeout(s.c.ctx, lookupTime)
	defer cancel()
	r := ask(ctx)
	if r.Temporary() && (s.login != "" || s.trusted() || s.l.Role == mta.RoleLocal) {
		return mta.Reply{}
	}
	return r
}

// tooLarge says whether a message can never come into a mailbox with a quota: to take it were to send it back, to whom it may
// not be from. The size that was declared counts a CR in each line, which a mailbox has not.
func (s *session) tooLarge(quota int64) bool {
	return quota > 0 && s.l.Role != mta.RoleLocal && s.tx.size-s.tx.size/16 > quota
}

// full says whether a mailbox has no room for the message.
func (s *session) full(login mta.Address) bool {
	return s.o.Full != nil && !login.IsNull() && s.l.Role != mta.RoleLocal && s.o.Full(login, s.tx.size)
}
