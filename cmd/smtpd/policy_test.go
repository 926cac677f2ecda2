package main_test

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestStrangersAreHeldToThePolicy(t *testing.T) {
	p := startDaemon(t)
	addr := p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	zone := mtatest.NewZone(t, "away.test. 300 IN MX 10 mx.away.test.", "null.test. 300 IN MX 0 .")
	text, err := os.ReadFile(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	set := strings.NewReplacer("require_sender_domain = false", "require_sender_domain = true\nsmtpd.reject_own_domains = true", "127.0.0.1:1\"", zone.Addr()+`"`)
	mtatest.Write(t, p.conf, set.Replace(string(text)))
	p.Signal(t, syscall.SIGHUP)
	p.Next(t, "event=reloaded")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `S: 220 .*
C: HELO -x-
S: 250 .*
C: MAIL FROM:<a@away.test>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 550 5.7.1 .*
C: HELO client.test
S: 250 .*
C: MAIL FROM:<a@null.test>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 550 5.7.27 .*
C: RSET
S: 250 .*
C: MAIL FROM:<a@gone.test>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 550 5.1.8 .*
C: RCPT TO:<postmaster>
S: 250 .*
C: RSET
S: 250 .*
C: MAIL FROM:<boss@here.test>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 550 5.7.1 .*
C: RSET
S: 250 .*
C: MAIL FROM:<a@away.test>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 250 .*
C: VRFY alice
S: 252 2.5.2 .*
C: EXPN alice
S: 502 5.5.1 .*
C: EHLO client.test
C: NOOP
S: 554 5.5.0 .*
EOF
`, nil)
	p.Next(t, `event=rejected .* stage=rcpt reply="550 5\.7\.27 .*" from=<a@null\.test> to=<alice@here\.test>`)
	p.Next(t, `event=rejected .* stage=hello reply="554 5\.5\.0 `)
}
