package milter

import (
	"net"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
)

// usual are the macros that a milter gets at each stage when it does not ask for others: what Sendmail and Postfix have there.
func usual() map[uint32][]string {
	return map[uint32][]string{
		connect.stage: {"j", "_", "v", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "{if_name}", "{if_addr}",
			"{client_addr}", "{client_name}", "{client_port}", "{client_ptr}"},
		helo.stage: {"s", "r", "{tls_version}", "{cipher}"},
		mailFrom.stage: {"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}",
			"{client_addr}", "{client_name}"},
		rcptTo.stage:    {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		dataBegin.stage: {"i", "{nrcpts}"},
		headerEnd.stage: {"i"},
		bodyEnd.stage:   {"i", "{msg_id}"},
	}
}

// bare is a macro's name without its braces.
func bare(name string) string {
	if len(name) > 2 && name[0] == '{' && name[len(name)-1] == '}' {
		return name[1 : len(name)-1]
	}
	return name
}

// macrosOf are those that the event can tell, under their bare names.
func (f *Filter) macrosOf(e *filters.Event) map[string]string {
	m := map[string]string{
		"j": f.site.Hostname, "if_name": f.site.Hostname, "v": "Posthouse " + f.Version, "daemon_name": e.Role, "r": protocol(e),
		"s": e.Helo,
	}
	set := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	if host, port, err := net.SplitHostPort(e.Listener); err == nil {
		set("daemon_addr", host)
		set("if_addr", host)
		set("daemon_port", port)
	}
	name, _, address, port := client(e)
	set("client_name", name)
	set("client_addr", address)
	set("client_ptr", e.ClientName)
	if address != "" {
		m["client_port"] = strconv.Itoa(int(port))
		m["_"] = strings.TrimPrefix(name+" ["+address+"]", "["+address+"] ")
	}
	set("tls_version", e.TLSVersion)
	set("cipher", e.TLSCipher)
	set("auth_authen", e.Login)
	if e.Login != "" {
		m["auth_type"] = "PLAIN" // filters are not told of the mechanism, and milters ask whether there was one
	}
	set("auth_author", strings.Trim(e.AuthParam, "<>"))
	m["mail_addr"] = e.Sender
	m["mail_host"], m["mail_mailer"] = f.way(e.Sender)
	if e.Message != nil {
		set("i", e.Message.ID)
	}
	m["nrcpts"] = strconv.Itoa(len(e.Recipients))
	return m
}

// way is the domain of an address, and whether mail for it stays here.
func (f *Filter) way(address string) (host, mailer string) {
	host = address[strings.LastIndexByte(address, '@')+1:]
	for _, d := range f.site.LocalDomains {
		if strings.EqualFold(d, host) {
			return host, "local"
		}
	}
	return host, "esmtp"
}

// protocol is that of RFC 3848.
func protocol(e *filters.Event) string {
	if !e.ESMTP {
		return "SMTP"
	}
	p := "ESMTP"
	if e.TLSVersion != "" {
		p += "S"
	}
	if e.Login != "" {
		p += "A"
	}
	return p
}

// client is who has connected, as a milter wants to hear it: a name, "[address]" where it is unknown, and the family. What
// this machine hands in comes from localhost, as other servers say.
func client(e *filters.Event) (name string, family byte, address string, port uint16) {
	if e.Local {
		return "localhost", '4', "127.0.0.1", 0
	}
	if !e.Client.IsValid() {
		return "unknown", 'U', "", 0
	}
	a := e.Client.Addr().Unmap().WithZone("")
	name, family = e.ClientName, '6'
	if a.Is4() {
		family = '4'
	}
	if name == "" {
		name = "[" + a.String() + "]"
	}
	return name, family, a.String(), e.Client.Port()
}
