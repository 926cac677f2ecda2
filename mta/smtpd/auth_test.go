package smtpd_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// slowing makes each attempt wait as long as there were failures, in units of ten seconds.
type slowing struct {
	failures  int
	succeeded bool
	client    netip.Addr
}

func (s *slowing) delay() time.Duration { return time.Duration(s.failures) * 10 * time.Second }

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
		o.TLS, o.Logins = certs.Server, logins
		ln := &pipes{conns: make(chan net.Conn)}
		serve(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleSubmission, TLS: smtpd.Implicit}, log)
		// The bubble's clock stands before the certificate's time.
		nc := tls.Client(ln.dial(), &tls.Config{InsecureSkipVerify: true})
		defer nc.Close()
		c := &client{t, nc, bufio.NewReader(nc)}
		c.expect("220 ")
		c.send("EHLO c\r\n")
		for range 7 {
			c.expect("250")
		}
		begin := time.Now()
		for range 3 {
			c.send("AUTH PLAIN AGFsaWNlQGhlcmUudGVzdAB3cm9uZw==\r\n")
			c.expect("535 5.7.8 ")
		}
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("three wrong passwords took %v, want 0s + 10s + 20s", d)
		}
		c.send("AUTH PLAIN AGFsaWNlQGhlcmUudGVzdABzZWNyZXQ=\r\n")
		c.expect("235 ")
		if !logins.succeeded || logins.failures != 3 || logins.client != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("got %+v", logins)
		}
	})
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
