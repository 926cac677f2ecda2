package smtpd_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// slowing makes each attempt wait as long as there were failures, in units of ten seconds or of its own.
type slowing struct {
	unit      time.Duration
	failures  int
	succeeded bool
	client    netip.Addr
}

func (s *slowing) delay() time.Duration {
	return time.Duration(s.failures) * cmp.Or(s.unit, 10*time.Second)
}

func (s *slowing) Delay(client netip.Addr, _ string) time.Duration {
	s.client = client
	return s.delay()
}

func (s *slowing) Failed(netip.Addr, string) time.Duration {
	s.failures++
	return s.delay()
}

func (s *slowing) Succeeded(netip.Addr, string) { s.succeeded = true }

func TestGuessingIsSlowedDown(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		logins := &slowing{}
		o.TLS, o.Logins, o.Metrics = certs.Server, logins, smtpd.NewMetrics()
		counts := prometheus.NewRegistry()
		counts.MustRegister(o.Metrics)
		ln := &pipes{conns: make(chan net.Conn)}
		serve(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
		// The bubble's clock stands before the certificate's time.
		nc := tls.Client(ln.dial(), &tls.Config{InsecureSkipVerify: true})
		defer nc.Close()
		c := &client{t, nc, bufio.NewReader(nc)}
		c.expect("220 ")
		c.send("EHLO c\r\n")
		c.expectLast("250 ")
		begin := time.Now()
		for range 3 {
			c.send("AUTH PLAIN AGFsaWNlQGhlcmUudGVzdAB3cm9uZw==\r\n")
			c.expect("535 5.7.8 ")
		}
		if d := time.Since(begin); d != 60*time.Second {
			t.Errorf("three wrong passwords took %v, want 10s + 20s + 30s", d)
		}
		c.send("AUTH PLAIN AGFsaWNlQGhlcmUudGVzdABzZWNyZXQ=\r\n")
		c.expect("235 ")
		if d := time.Since(begin); d != 90*time.Second {
			t.Errorf("the right one was answered after %v in all, want 90s", d)
		}
		if !logins.succeeded || logins.failures != 3 || logins.client != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("got %+v", logins)
		}
		for result, want := range map[string]float64{"ok": 1, "credentials": 3} {
			if got := mtatest.Value(t, counts, "posthouse_smtpd_logins_total", "PLAIN", result); got != want {
				t.Errorf("logins counted as %s: got %v, want %v", result, got, want)
			}
		}
	})
}

// TestGuessingByScramIsSlowedDown: who asks for a salt waits for the failures of before, and who shows a wrong proof, whether
// or not there is such a login, for this one too. To give up before the proof is no guess, nor is a binding that does not fit.
func TestGuessingByScramIsSlowedDown(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		logins := &slowing{unit: time.Second}
		o.TLS, o.Logins = certs.Server, logins
		ln := &pipes{conns: make(chan net.Conn)}
		serve(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
		begin := time.Now()
		mtatest.Dialogue(t, tls.Client(ln.dial(), &tls.Config{InsecureSkipVerify: true}), `S: 220 .*
C: EHLO c
L: 250 AUTH .*
SCRAM: SCRAM-SHA-256-PLUS alice@here.test secret elsewhere
S: 535 .*
SCRAM: SCRAM-SHA-256 alice@here.test secret cancel
S: 501 .*
SCRAM: SCRAM-SHA-256 alice@here.test wrong
S: 535 .*
`, nil)
		if d := time.Since(begin); d != time.Second || logins.failures != 1 {
			t.Errorf("one wrong password was refused after %v and counted %d times, want 1s and once", d, logins.failures)
		}
		begin = time.Now()
		mtatest.Dialogue(t, tls.Client(ln.dial(), &tls.Config{InsecureSkipVerify: true}), `S: 220 .*
C: EHLO c
L: 250 AUTH .*
SCRAM: SCRAM-SHA-256-PLUS nobody@here.test secret
S: 535 .*
`, nil)
		if d := time.Since(begin); d != 2*time.Second || logins.failures != 2 {
			t.Errorf("an unknown login was refused after %v, and there were %d failures; want 2s and 2", d, logins.failures)
		}
		begin = time.Now()
		mtatest.Dialogue(t, tls.Client(ln.dial(), &tls.Config{InsecureSkipVerify: true}), `S: 220 .*
C: EHLO c
L: 250 AUTH .*
SCRAM: SCRAM-SHA-256-PLUS alice@here.test secret
S: 235 .*
`, nil)
		if d := time.Since(begin); d != 2*time.Second || !logins.succeeded {
			t.Errorf("the right password was taken after %v, success %v; want 2s for the two failures", d, logins.succeeded)
		}
	})
}

// TestTLSEndsWithCloseNotify: without it a client cannot tell the end from a cut (RFC 5246 7.2.1, RFC 8446 6.1).
func TestTLSEndsWithCloseNotify(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.TLS = certs.Server
	addr := serve(t, o, smtpd.Listener{Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
	raw := &tap{Conn: dial(t, addr)}
	defer raw.Close()
	cfg := certs.Client("mx.here.test")
	cfg.MaxVersion = tls.VersionTLS12 // whose record types can be seen
	nc := tls.Client(raw, cfg)
	if _, err := io.WriteString(nc, "QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(nc); err != nil || !strings.HasSuffix(string(got), "closing connection\r\n") {
		t.Errorf("got %q, %v; want the reply and the end", got, err)
	}
	const alert = 21
	last := byte(0)
	for b := raw.got.Bytes(); len(b) >= 5; {
		last = b[0]
		b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):]
	}
	if last != alert {
		t.Errorf("the last TLS record has type %d, want %d, an alert", last, alert)
	}
}

// tap keeps what is read.
type tap struct {
	net.Conn
	got bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got.Write(p[:n])
	return n, err
}

// TestOverlongResponse: RFC 4954 4 has a code for it, and the dialogue stays in step.
func TestOverlongResponse(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.TLS = certs.Server
	addr := serve(t, o, smtpd.Listener{Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
	nc := tls.Client(dial(t, addr), certs.Client("mx.here.test"))
	mtatest.Dialogue(t, nc, "S: 220 .*\nC: EHLO c\nL: 250 AUTH .*\nC: AUTH PLAIN\nS: 334 .*\nC: "+
		strings.Repeat("A", 13_000)+"\nS: 500 5.5.6 .*\nC: NOOP\nS: 250 .*\n", nil)
}

func TestStalledHandshakeIsCut(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		o.TLS = certs.Server
		ln := &pipes{conns: make(chan net.Conn)}
		serve(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
		begin := time.Now()
		nc := ln.dial()
		defer nc.Close()
		if n, err := nc.Read(make([]byte, 100)); err == nil {
			t.Errorf("got %d octets from a handshake that nobody began", n)
		}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("cut after %v, want 1m", d)
		}
	})
}
