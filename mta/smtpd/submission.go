package smtpd

import (
	"context"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// Senders says who may send as whom.
type Senders interface {
	// MaySend has a temporary reason for any error. The login is that of a listener with the role.
	MaySend(ctx context.Context, role, login string, as mta.Address) (bool, error)
}

// submits says whether the rules of submission hold (RFC 6409): its own people send here.
func (s *session) submits() bool {
	return s.l.Role == mta.RoleSubmission || s.l.Role == mta.RoleLocal
}

// maySend refuses a sender that is not the login's. The null sender is everybody's: it is that of a receipt (RFC 8098 4).
func (s *session) maySend(stage string, as mta.Address) mta.Reply {
	if s.o.Senders == nil || s.login == "" || !s.submits() || as.IsNull() {
		return mta.Reply{}
	}
	ctx, cancel := context.WithTimeout(s.c.ctx, lookupTime)
	defer cancel()
	switch may, err := s.o.Senders.MaySend(ctx, s.l.Role, s.login, as); {
	case err != nil:
		s.o.Log.SMTPFault(s.who(), stage, "", err)
		return reply(451, "4.3.0", "Cannot look the sender up now, try again later")
	case !may:
		return reply(550, "5.7.1", s.login+" may not send as <"+as.String()+">")
	}
	return mta.Reply{}
}

// checkHead holds the header of a submitted message against the login: each author is the login's. On the local socket the
// envelope alone is checked: programs there write what they like into From.
func (s *session) checkHead(h *message.Head) mta.Reply {
	switch {
	case h.TooMuch:
		return reply(550, "5.6.0", "Message refused: the From or Bcc fields are too long or too many")
	case s.l.Role != mta.RoleSubmission || s.login == "":
		return mta.Reply{}
	case h.Broken: // a folded line in front would go on the field that is added, and name an author there
		return reply(550, "5.6.0", "Message refused: the header has a line that is no field")
	case len(h.From) == 0:
		return mta.Reply{}
	case len(h.From) > 1:
		return reply(550, "5.6.0", "Message refused: more than one From field")
	}
	authors, err := parseFrom(h.From[0])
	if err != nil {
		return reply(550, "5.6.0", "Message refused: the From field has no address that can be read")
	}
	for _, a := range authors {
		if r := s.maySend("content", a); r.Code != 0 {
			r.Text = strings.Replace(r.Text, " may not send as ", " may not write From ", 1)
			return r
		}
	}
	return mta.Reply{}
}

// addressParser reads names in any charset: only the addresses count.
var addressParser = mail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, in io.Reader) (io.Reader, error) { return in, nil },
}}

// maxAuthors bounds how many addresses of a From field are looked up.
const maxAuthors = 100

// parseFrom reads the mailbox-list of RFC 5322 3.6.2, which has one at least.
func parseFrom(value string) ([]mta.Address, error) {
	list, err := addressParser.ParseList(strings.ToValidUTF8(value, "?"))
	if err != nil {
		return nil, err
	}
	var all []mta.Address
	for _, m := range list {
		at := strings.LastIndexByte(m.Address, '@')
		a := mta.Address{Local: m.Address[:max(at, 0)], Domain: m.Address[at+1:]}
		if a, err = mta.ParseAddress(a.String()); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if len(all) == 0 || len(all) > maxAuthors {
		return nil, mta.ErrBadAddress
	}
	return all, nil
}

// mend adds what a submitted message lacks, and takes Bcc out (RFC 6409 8).
func (s *session) mend(e *mta.Envelope, id mta.ID, h *message.Head, now time.Time) {
	if !h.Date {
		e.Prepend += "Date: " + now.Format(receivedDate) + "\r\n"
	}
	if !h.MessageID {
		e.Prepend += "Message-ID: <" + string(id) + "@" + s.o.Hostname + ">\r\n"
	}
	if len(h.From) == 0 {
		e.Prepend += "From: <" + s.author(e).String() + ">\r\n"
	}
	e.Cut = h.Bcc
}

// author stands in for an absent From field.
func (s *session) author(e *mta.Envelope) mta.Address {
	if !e.Sender.IsNull() {
		return e.Sender
	}
	if a, err := mta.ParseAddress(s.login); err == nil {
		return a
	}
	local := s.login
	if local == "" {
		local = "postmaster"
	}
	return mta.Address{Local: local, Domain: s.o.Hostname}
}
