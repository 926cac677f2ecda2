package filtertest

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

// manyRecipients is what an alias or a list can come to.
const manyRecipients = 10_000

// sample is an everyday message.
const sample = "Received: from mail.example.org (mail.example.org [192.0.2.7])\r\n\tby mx.example.net; Sat, 07 Mar 2026 10:00:00 +0000\r\n" +
	"From: Ann Example <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Lunch\r\nDate: Sat, 07 Mar 2026 11:00:00 +0100\r\n" +
	"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nAt noon?\r\n" +
	"--b\r\nContent-Type: application/zip; name=\"menu.zip\"\r\nContent-Disposition: attachment; filename=\"menu.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==\r\n--b--\r\n"

// session is an everyday session by a role.
func session(role string) mta.Event {
	e := mta.Event{
		Session: "test", Role: role, Listener: ":25", Client: netip.MustParseAddrPort("192.0.2.7:4567"), Name: "mail.example.org", Helo: "mail.example.org",
		ESMTP: true, Body: mta.Body7Bit, Sender: address("ann@example.org"), Rcpts: []mta.Recipient{{Address: address("bob@example.net")}},
	}
	switch role {
	case mta.RoleSubmission:
		e.Listener, e.Login, e.TLS, e.Cipher = ":465", "ann@example.org", "TLSv1.3", "TLS_AES_128_GCM_SHA256"
	case mta.RoleLocal:
		e.Listener, e.Client, e.Name, e.Local, e.UID, e.Login = "unix:/run/posthouse/smtpd/submit.sock", netip.AddrPort{}, "", true, 1000, "ann"
	}
	return e
}

// address panics on what is none: those of this file alone are given to it.
func address(s string) mta.Address {
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// hostile are sessions and messages that nobody means well with. All of them are such as smtpd lets pass.
func hostile() map[string]host.Trial {
	all := map[string]host.Trial{}
	add := func(what, content string, change func(e *mta.Event)) {
		e := session(mta.RoleMX)
		if change != nil {
			change(&e)
		}
		if strings.ContainsFunc(content, func(r rune) bool { return r >= 0x80 }) {
			e.Body = mta.Body8BitMIME
		}
		all[what] = host.Trial{Event: e, Content: []byte(content), Late: len(e.Rcpts) > 100} // thousands of calls of Recipient say nothing more
	}
	add("nothing at all", "", nil)
	add("a header alone", "Subject: x\r\n", nil)
	add("an empty body", "Subject: x\r\n\r\n", nil)
	add("a body without a header", "\r\nbody\r\n", nil)
	add("no field but text", "this is no header\r\n\r\nbody\r\n", nil)
	add("the null sender", sample, func(e *mta.Event) { e.Sender = mta.Address{} })
	add("no name and no greeting", sample, func(e *mta.Event) { e.Name, e.Helo, e.ESMTP = "", "", false })
	add("a client of IPv6", sample, func(e *mta.Event) {
		e.Client, e.Helo = netip.MustParseAddrPort("[2001:db8::7]:1"), "[IPv6:2001:db8::7]"
	})
	add("a greeting that is no name", sample, func(e *mta.Event) { e.Helo = "-.-..\\x \"%s%n$(id)" })
	add("odd addresses", sample, func(e *mta.Event) {
		e.Sender = address(`"a b@c\"d"@[192.0.2.9]`)
		e.Rcpts = []mta.Recipient{{Address: address(`"%{i} $(id) ;x"@example.net`)}}
	})
	add("addresses beyond ASCII", sample, func(e *mta.Event) {
		e.SMTPUTF8, e.Sender, e.Rcpts = true, address("ännchen@exämple.example"), []mta.Recipient{{Address: address("böb@example.net")}}
	})
	add("ten thousand recipients", sample, func(e *mta.Event) {
		e.Rcpts = nil
		for i := range manyRecipients {
			e.Rcpts = append(e.Rcpts, mta.Recipient{Address: address(fmt.Sprintf("user%d@example.net", i))})
		}
	})
	add("a header of a megabyte", strings.Repeat("X-Filler: "+strings.Repeat("x", 60)+"\r\n", 14000)+sample, nil)
	add("a field of a megabyte", "X-Filler: a"+strings.Repeat("\r\n "+strings.Repeat("x", 70), 13000)+"\r\n"+sample, nil)
	add("a subject of many lines", "Subject: "+strings.Repeat("many words\r\n ", 300)+"end\r\nFrom: "+strings.Repeat("x", 900)+"@example.org\r\n\r\nx\r\n", nil)
	add("a thousand fields From", strings.Repeat("From: a@example.org\r\n", 1000)+"\r\nx\r\n", nil)
	add("a line of a megabyte", "Subject: x\r\n\r\n"+strings.Repeat("x", 1<<20)+"\r\n", nil)
	add("all octets", "Subject: "+octets("\r\n")+"\r\nFrom: "+octets("\r\n")+"\r\n\r\n"+octets("")+"\r\n", nil)
	add("encoded words that are none", "Subject: =?utf-8?b?%%%?= =?x?q?=FF?= =?utf-8?q?\r\nFrom: =?utf-8?q?=00=0D=0A?= <a@example.org\r\n\r\nx\r\n", nil)
	add("broken types", "Content-Type: multipart/mixed; boundary=\"\"; boundary*0=a; x==\r\nContent-Transfer-Encoding: base63\r\n\r\n--\r\n\r\n----\r\n", nil)
	add("a multipart without an end", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx", nil)
	add("a thousand multiparts in each other", nested(1000), nil)
	add("ten thousand parts", "Content-Type: multipart/mixed; boundary=b\r\n\r\n"+strings.Repeat("--b\r\n\r\nx\r\n", 10_000)+"--b--\r\n", nil)
	add("signatures that are none", strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; h=from; bh=%%; b=%%\r\n", 100)+
		"ARC-Seal: i=99999999999999999999; cv=pass\r\nARC-Message-Signature: i=0\r\nAuthentication-Results: ;;;=\r\nReceived-SPF: \r\n"+sample, nil)
	return all
}

// octets is each octet once, but those in without.
func octets(without string) string {
	var b bytes.Buffer
	for c := range 256 {
		if strings.IndexByte(without, byte(c)) < 0 {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	b.WriteString("\r\nx\r\n")
	return b.String()
}
