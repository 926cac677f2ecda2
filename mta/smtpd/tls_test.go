package smtpd_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// never gives nobody a turn.
type never struct{}

func (never) Wait(ctx context.Context, _ netip.Addr) (func(), error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// withTLS is inBubble with a certificate.
func withTLS(t *testing.T, mode smtpd.TLSMode, change func(*smtpd.Options), test func(t *testing.T, ln *pipes, log *lines)) {
	t.Helper()
	certs := mtatest.NewCerts(t, "mx.here.test")
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{}, &lines{}
		ln := &pipes{conns: make(chan net.Conn)}
		o := options(q, log)
		o.TLS = certs.Server
		change(&o)
		stop, _ := start(t, o, smtpd.Listener{Listener: ln, TLS: mode}, log)
		test(t, ln, log)
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestHandshakeThatStallsEnds(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "one octet": "\x16", "half a record": "\x16\x03\x01\x01\x00abc"} {
		t.Run(name, func(t *testing.T) {
			withTLS(t, smtpd.Implicit, func(*smtpd.Options) {}, func(t *testing.T, ln *pipes, log *lines) {
				nc := ln.dial()
				begin := time.Now()
				if _, err := io.WriteString(nc, said); err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(nc); err != nil || len(b) > 0 {
					t.Errorf("got %q, %v; want the end", b, err)
				}
				if d := time.Since(begin); d != time.Minute {
					t.Errorf("after %v, want 1m", d)
				}
				synctest.Wait()
				if !strings.Contains(log.String(), "event=tls-failed ") {
					t.Error("no event tls-failed in the log")
				}
			})
		})
	}
}

func TestWithoutATurnThereIsNoHandshake(t *testing.T) {
	busy := func(o *smtpd.Options) { o.Handshakes = never{} }
	withTLS(t, smtpd.StartTLS, busy, func(t *testing.T, ln *pipes, log *lines) {
		c := newClient(t, ln)
		c.send("HELO c\r\n")
		c.expect("250 ")
		begin := time.Now()
		c.send("STARTTLS\r\n")
		c.expect("454 4.7.0 ")
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("after %v, want 10s", d)
		}
		c.send("NOOP\r\n")
		c.expect("250 ")
		if !strings.Contains(log.String(), "event=tls-failed ") || !strings.Contains(log.String(), "too many handshakes at once") {
			t.Error("the log does not say why")
		}
	})
	withTLS(t, smtpd.Implicit, busy, func(t *testing.T, ln *pipes, _ *lines) {
		if b, err := io.ReadAll(ln.dial()); err != nil || len(b) > 0 {
			t.Errorf("implicit: got %q, %v; want the end", b, err)
		}
	})
}
