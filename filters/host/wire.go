package host

import (
	"strings"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
)

var wireStages = map[mta.Stage]proto.Stage{
	mta.AtConnect: proto.Stage_STAGE_CONNECT, mta.AtHello: proto.Stage_STAGE_HELLO, mta.AtSender: proto.Stage_STAGE_SENDER,
	mta.AtRecipient: proto.Stage_STAGE_RECIPIENT, mta.AtMessage: proto.Stage_STAGE_MESSAGE,
}

// wireEvent is an event as a filter gets it. All text becomes UTF-8: the wire knows no other.
func wireEvent(e *mta.Event) *proto.Event {
	w := &proto.Event{
		Session: e.Session, Role: e.Role, Listener: e.Listener, ClientName: e.Name, ClientIsLocal: e.Local, ClientUid: e.UID,
		TlsVersion: e.TLS, TlsCipher: e.Cipher, Login: utf8(e.Login), Helo: utf8(e.Helo), Esmtp: e.ESMTP,
		HasSender: e.HasSender, Sender: utf8(e.Sender.String()), BodyType: e.Body, Smtputf8: e.SMTPUTF8, AuthParam: utf8(e.Auth), SizeParam: e.Size,
		Recipients: addresses(e.Rcpts),
	}
	if e.Client.IsValid() {
		w.ClientAddress, w.ClientPort = e.Client.Addr().String(), uint32(e.Client.Port())
	}
	if e.Stage == mta.AtRecipient {
		w.Recipient = utf8(e.Rcpt.String())
	}
	return w
}

func utf8(s string) string { return strings.ToValidUTF8(s, "?") }

func addresses(rcpts []mta.Recipient) []string {
	list := make([]string, len(rcpts))
	for i, r := range rcpts {
		list[i] = utf8(r.Address.String())
	}
	return list
}
