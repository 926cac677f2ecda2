package smtpd_test

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// TestProxyHeaderBeforeTLS: what comes in one packet with the header is the handshake's, or the dialogue's.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.TLS = certs.Server
	o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	addr := serve(t, o, smtpd.Listener{Role: mta.RoleMX, TLS: smtpd.Implicit}, log)
	nc := tls.Client(&withHeader{Conn: dial(t, addr), header: "PROXY TCP6 2001:db8::7 2001:db8::1 40000 465\r\n"}, certs.Client("mx.here.test"))
	mtatest.Dialogue(t, nc, "S: 220 .*\nC: EHLO c.test\nL: 250 .*\nC: MAIL FROM:<a@away.test>\nC: RCPT TO:<alice@here.test>\nS: 250 .*\nS: 250 .*\nR: \"BDAT 0 LAST\\r\\n\"\nS: 250 .*\n", nil)
	if e := q.all()[0].envelope; e.Origin.Client != "[2001:db8::7]:40000" || !strings.HasPrefix(e.Prepend, "Received: from c.test ([IPv6:2001:db8::7])") {
		t.Errorf("got client %q, %q", e.Origin.Client, e.Prepend)
	}
}

func TestSilentProxyIsTurnedAway(t *testing.T) {
	change := func(o *smtpd.Options) { o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }
	inBubble(t, change, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		nc := ln.dial()
		begin := time.Now()
		b, err := io.ReadAll(nc)
		if d := time.Since(begin); !strings.HasPrefix(string(b), "421 4.3.0 ") || err != nil || d != 10*time.Second {
			t.Errorf("got %q, %v after %v; want a refusal after 10s", b, err, d)
		}
	})
}

func TestXclientReachesTheQueue(t *testing.T) {
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.XclientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	addr := serve(t, o, smtpd.Listener{}, log)
	mtatest.Dialogue(t, dial(t, addr), `S: 220 .*
C: EHLO proxy.test
L: 250 .*
C: XCLIENT NAME=spike.test ADDR=192.0.2.9 PORT=99 HELO=spike.test PROTO=ESMTP
S: 220 .*
C: MAIL FROM:<a@away.test>
C: RCPT TO:<alice@here.test>
S: 250 .*
S: 250 .*
R: "BDAT 0 LAST\r\n"
S: 250 .*
`, nil)
	e := q.all()[0].envelope
	if want := (mta.Origin{Listener: "test", Client: "192.0.2.9:99", Name: "spike.test", Helo: "spike.test"}); e.Origin != want {
		t.Errorf("got %+v, want %+v", e.Origin, want)
	}
	if !strings.Contains(log.String(), "event=xclient ") || !strings.Contains(log.String(), " address=127.0.0.1:") {
		t.Error("the log does not say who spoke")
	}
}
