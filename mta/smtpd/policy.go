package smtpd

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Policy is what mx holds strangers to. It spares who is in Options.Trusted, and mail to our postmaster, who must hear of
// what we refuse by mistake (RFC 5321 4.5.1). Its refusals come at RCPT, so that the log names sender and recipient.
type Policy struct {
	Resolver Resolver // of the switches below that ask DNS, and of the client's name; nil: neither

	RequireHelo   bool // EHLO and HELO must name a host or an address literal
	SenderDomain  bool // the sender's domain must be able to take mail
	OwnDomains    bool // nobody else sends as us
	RefuseEarly   bool // who talks before it is its turn is cut off
	GreetDelay    time.Duration
	UnknownDelays Guesses // nil: who guesses recipients is not slowed
}

// Resolver is what a session asks of DNS. dns.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MX, error)
	Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error)
	Name(ctx context.Context, a netip.Addr) ([]string, error)
}

var _ Resolver = (*dns.Resolver)(nil)

// Guesses slows down who tries recipients until one exists. Unknown counts a recipient that does not, and says how long
// the client waits for the answer.
type Guesses interface {
	Unknown(client netip.Addr) time.Duration
}

// senderTime bounds the look for a sender's domain.
const senderTime = 20 * time.Second

// stranger says whether the client is one that Options.Policy is for.
func (s *session) stranger() bool {
	return s.l.Role == mta.RoleMX && s.login == "" && !s.trusted()
}

// policy refuses a transaction that breaks a rule of Options.Policy; it is found out once, at the first recipient.
func (s *session) policy() mta.Reply {
	if s.tx.policy == nil {
		var r mta.Reply
		if s.stranger() {
			if r = s.heloPolicy(); r.Code == 0 {
				r = s.senderPolicy()
			}
		}
		s.tx.policy = &r
	}
	return *s.tx.policy
}

// policyFor is policy for one recipient.
func (s *session) policyFor(to mta.Address) mta.Reply {
	if strings.EqualFold(to.Local, "postmaster") {
		if ours, err := s.ours(to); err == nil && ours {
			return mta.Reply{}
		}
	}
	return s.policy()
}

func (s *session) heloPolicy() mta.Reply {
	if _, err := mta.ParseDomain(s.helo); s.o.RequireHelo && err != nil {
		return reply(550, "5.7.1", "EHLO and HELO must give a host name or an address literal")
	}
	return mta.Reply{}
}

func (s *session) senderPolicy() mta.Reply {
	domain := s.tx.sender.Domain
	if domain == "" { // the null sender
		return mta.Reply{}
	}
	ours, err := s.ours(s.tx.sender)
	switch {
	case err != nil:
		s.o.Log.SMTPFault(s.who(), "rcpt", "", err)
		return reply(451, "4.3.0", "Cannot look the sender up now, try again later")
	case ours && s.o.OwnDomains:
		return reply(550, "5.7.1", "Senders of this domain must log in")
	case ours || !s.o.SenderDomain || s.o.Resolver == nil || strings.HasPrefix(domain, "["):
		return mta.Reply{}
	}
	return s.senderDomain(domain)
}

// ours says whether an address is in a domain of ours.
func (s *session) ours(a mta.Address) (bool, error) {
	d, err := s.accept(a)
	return !d.Relay, err
}

// senderDomain looks whether a report could go back: to an MX, or to the domain itself (RFC 5321 5.1).
func (s *session) senderDomain(domain string) mta.Reply {
	ctx, cancel := context.WithTimeout(s.c.ctx, senderTime)
	defer cancel()
	_, err := s.o.Resolver.MX(ctx, domain)
	if errors.Is(err, dns.ErrNoData) {
		_, err = s.o.Resolver.Addrs(ctx, domain, true)
	}
	switch {
	case err == nil:
		return mta.Reply{}
	case errors.Is(err, dns.ErrNullMX):
		return reply(550, "5.7.27", "The sender's domain takes no mail (null MX)") // RFC 7505 4.2
	case dns.Permanent(err):
		return reply(550, "5.1.8", "The sender's domain does not exist, or takes no mail")
	}
	s.o.Log.SMTPLookupFailed(s.who(), domain, err)
	return reply(451, "4.4.3", "Cannot look the sender's domain up now, try again later")
}

// slow lets who guesses recipients wait for the answer.
func (s *session) slow(r mta.Reply) {
	if s.o.UnknownDelays != nil && r.Permanent() && r.Enhanced == "5.1.1" && s.stranger() {
		s.pause(s.o.UnknownDelays.Unknown(s.remote.Addr()))
	}
}
