package smtpd

import (
	"net/netip"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// mayXclient: a client from Options.XclientFrom, by the address from which it came, a proxy's header included.
func (s *session) mayXclient() bool { return s.peer == nil && within(s.o.XclientFrom, s.came.Addr()) }

// xclient lets a trusted client speak for another. What it says takes the place of what we know, and the session begins
// again with the greeting.
func (s *session) xclient(args string) mta.Reply {
	switch {
	case len(s.o.XclientFrom) == 0:
		return reply(502, "5.5.1", "Command not implemented")
	case !s.mayXclient():
		return reply(550, "5.7.1", "XCLIENT is not for you")
	case s.tx.open:
		return reply(503, "5.5.1", "Not within a transaction")
	}
	x, err := smtp.ParseXclient(args)
	if err != nil || x.Login != nil && *x.Login != "" && s.l.Role != mta.RoleSubmission {
		return reply(501, "5.5.4", "Bad XCLIENT attribute")
	}
	s.become(x)
	s.o.Log.SMTPXclient(s.who(), s.came.String())
	s.endFilters()
	s.filters = nil
	if !s.askConnect() {
		s.end = true
		return mta.Reply{}
	}
	return s.banner()
}

// become puts the attributes in force.
func (s *session) become(x smtp.Xclient) {
	s.helo = ""
	s.reset()
	if x.Addr.IsValid() {
		s.remote = netip.AddrPortFrom(x.Addr, 0)
	}
	if x.Port != nil {
		s.remote = netip.AddrPortFrom(s.remote.Addr(), *x.Port)
	}
	switch {
	case x.Name != nil:
		s.endName()
		s.reverse = knownName(*x.Name)
	case x.Addr.IsValid():
		s.endName()
		s.reverse = nil
		s.findName()
	}
	if x.Helo != nil {
		s.helo = *x.Helo
	}
	if x.ESMTP != nil {
		s.esmtp = *x.ESMTP
	}
	if x.Login != nil {
		s.login = *x.Login
	}
}

// knownName is a name that nobody needs to look for.
func knownName(name string) *reverse {
	r := &reverse{cancel: func() {}, done: make(chan struct{}), name: name}
	close(r.done)
	return r
}
