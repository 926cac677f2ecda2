package remote_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// smtpSink starts Postfix's smtp-sink on a port of the loopback interface until the test ends.
func smtpSink(t *testing.T, args ...string) mta.Destination {
	t.Helper()
	path, err := exec.LookPath("smtp-sink")
	if err != nil {
		path = "/usr/sbin/smtp-sink"
		if _, err = os.Stat(path); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("smtp-sink is missing: %v", err)
			}
			t.Skip("no smtp-sink here (apt-get install postfix)")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := exec.Command(path, append(args, addr.String(), "100")...)
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 500 {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			_ = c.Close()
			return mta.Destination{Host: "127.0.0.1", Port: addr.Port}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("smtp-sink does not listen")
	return mta.Destination{}
}

func TestSMTPSinkThatRejectsDelaysAndDropsAtEachCommand(t *testing.T) {
	const delivered, deferred, failed = mta.Delivered, mta.Deferred, mta.Failed
	for _, c := range []struct {
		args []string
		want mta.Status
		code string // the outcome's enhanced code, "" = any
		up   bool
	}{
		{nil, delivered, "", true},
		{[]string{"-p"}, delivered, "", true}, // no PIPELINING
		{[]string{"-e"}, delivered, "", true}, // no ESMTP
		{[]string{"-8"}, delivered, "", true},

		{[]string{"-f", "connect"}, failed, "", true},
		{[]string{"-f", "ehlo,helo"}, failed, "", true},
		{[]string{"-f", "ehlo"}, delivered, "", true}, // HELO is known
		{[]string{"-f", "mail"}, failed, "", true},
		{[]string{"-f", "rcpt"}, failed, "", true},
		{[]string{"-f", "data"}, failed, "", true},
		{[]string{"-f", "."}, failed, "", true},
		{[]string{"-f", "quit"}, delivered, "", true},

		{[]string{"-r", "connect"}, deferred, "", false},
		{[]string{"-r", "ehlo"}, deferred, "", false},
		{[]string{"-r", "mail"}, deferred, "", true},
		{[]string{"-r", "rcpt"}, deferred, "", true},
		{[]string{"-r", "data"}, deferred, "", true},
		{[]string{"-r", "."}, deferred, "", true},

		{[]string{"-q", "connect"}, deferred, "4.4.2", false},
		{[]string{"-q", "ehlo"}, deferred, "4.4.2", false},
		{[]string{"-q", "mail"}, deferred, "4.4.2", false},
		{[]string{"-q", "rcpt"}, deferred, "4.4.2", false},
		{[]string{"-q", "data"}, deferred, "4.4.2", false},
		{[]string{"-q", "."}, deferred, "4.4.2", true}, // it may have it
		{[]string{"-q", "quit"}, delivered, "", true},

		{[]string{"-Q", "connect"}, deferred, "", false},
		{[]string{"-Q", "ehlo"}, deferred, "", false},
		{[]string{"-Q", "mail"}, deferred, "", false},
		{[]string{"-Q", "rcpt"}, deferred, "", false},
		{[]string{"-Q", "data"}, deferred, "", false},
		{[]string{"-Q", "."}, deferred, "", true},

		{[]string{"-W", "connect:1"}, delivered, "", true},
		{[]string{"-p", "-W", "mail:1"}, delivered, "", true}, // smtp-sink answers out of order where it pipelines
		{[]string{"-W", "data:1"}, delivered, "", true},
		{[]string{"-W", ".:1"}, delivered, "", true},
		{[]string{"-W", "connect:60"}, deferred, "4.4.2", false}, // longer than it is given
		{[]string{"-p", "-W", "mail:60"}, deferred, "4.4.2", false},
		{[]string{"-W", "data:60"}, deferred, "4.4.2", false},
		{[]string{"-W", ".:60"}, deferred, "4.4.2", true},
	} {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			t.Parallel()
			dest := smtpSink(t, c.args...)
			give := 20 * time.Second
			if strings.HasSuffix(strings.Join(c.args, " "), ":60") {
				give = 500 * time.Millisecond
			}
			client := remote.New(remote.Options{Hostname: "our.test", TLS: mta.TLSNone, ReuseMax: 10, ReuseIdle: time.Minute,
				Limits: smtpc.Timeouts{Greeting: give, Command: give, Data: give, End: give, Quit: give}})
			defer client.Close()
			for range 2 { // the second one on the connection of the first, where that is good
				out, up := client.Deliver(t.Context(), remote.Request{Dest: dest, Sender: addr("alice@our.test"),
					Rcpts: []mta.Recipient{{Address: addr("x@far.test")}, {Address: addr("y@far.test")}}, Content: content(text)})
				for _, o := range out {
					if o.Status != c.want || up != c.up || c.code != "" && o.Enhanced != c.code {
						t.Errorf("%v: %s %s, up %v (%v); want %s %s, up %v", c.args, o.Status, o.Reply(), up, o.Cause, c.want, c.code, c.up)
					}
				}
			}
		})
	}
}

func TestSMTPSinkThatSpeaksLMTP(t *testing.T) {
	for _, args := range [][]string{{"-L"}, {"-L", "-p"}} {
		dest := smtpSink(t, args...)
		dest.LMTP = true
		client := remote.New(remote.Options{Hostname: "our.test", TLS: mta.TLSNone})
		out, up := client.Deliver(t.Context(), remote.Request{Dest: dest, Sender: addr("alice@our.test"),
			Rcpts: []mta.Recipient{{Address: addr("x@far.test")}, {Address: addr("y@far.test")}}, Content: content(text)})
		if !up || out[0].Status != mta.Delivered || out[1].Status != mta.Delivered {
			t.Errorf("%v: got %+v, up %v", args, out, up)
		}
		client.Close()
	}
}
