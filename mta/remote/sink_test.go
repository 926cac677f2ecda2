package remote_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// smtpSink starts Postfix's smtp-sink on a port of the loopback interface until the test ends.
func smtpSink(t *testing.T, args ...string) mta.Destination {
	t.Helper()
	const port = 2525
	ip := mtatest.OwnIP()
	addr := net.JoinHostPort(ip, fmt.Sprint(port))
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := exec.Command(mtatest.Need(t, "smtp-sink"), append(args, addr, "100")...)
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return mta.Destination{Host: ip, Port: port}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ended:
			t.Fatalf("smtp-sink has ended: %v", cmd.ProcessState)
		}
	}
}

// patient are limits that no machine comes near, but for that of the stage which the sink is told to be silent at.
func patient(args []string) smtpc.Timeouts {
	const give, little = 2 * time.Minute, 500 * time.Millisecond
	to := smtpc.Timeouts{Greeting: give, Command: give, Data: give, End: give, Quit: give}
	limits := map[string]*time.Duration{"connect:60": &to.Greeting, "mail:60": &to.Command, "data:60": &to.Command, ".:60": &to.End} // DATA comes with MAIL
	for _, a := range args {
		if limit := limits[a]; limit != nil {
			*limit = little
		}
	}
	return to
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
			client := remote.New(remote.Options{Hostname: "our.test", TLS: mta.TLSNone, ReuseMax: 10, ReuseIdle: time.Minute,
				Limits: patient(c.args)})
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
