package smtpc_test

import (
	"net"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

func TestLMTPGivesEachRecipientItsReply(t *testing.T) {
	for _, c := range []struct {
		what   string
		part   map[string]string
		want   string // of b, c, d
		usable bool
	}{
		{"all well", nil, "end of data 250, end of data 250, end of data 250", true},
		{"one refused at RCPT", map[string]string{"RCPT TO:<b": "550 no"}, "RCPT 550, end of data 250, end of data 250", true},
		{"one refused after the data", map[string]string{"END <c": "550 5.2.0 no"}, "end of data 250, end of data 550, end of data 250", true},
		{"one full", map[string]string{"END <d": "452 4.2.2 full"}, "end of data 250, end of data 250, end of data 452", true},
		{"a reply that is none", map[string]string{"END <c": "354 go on"}, "end of data 250, end of data 354, end of data unknown", false},
		{"broken off", map[string]string{"END <c": mtatest.Drop}, "end of data 250, end of data unknown, end of data unknown", false},
		{"421 in between", map[string]string{"END <c": "421 bye"}, "end of data 250, end of data 421, end of data 250", false},
		{"a reply too many", map[string]string{"END <d": "250 ok\r\n550 5.1.1 of nobody"}, "end of data 250, end of data 250, end of data 250", false},
		{"the data of nobody", map[string]string{"RCPT": "550 no", "DATA": "354 fine"}, "RCPT 550, RCPT 550, RCPT 550", false},
		{"data refused", map[string]string{"DATA": "451 later"}, "DATA 451, DATA 451, DATA 451", true},
	} {
		for _, ext := range [][]string{nil, {"PIPELINING"}} {
			s := (&mtatest.Sink{LMTP: true, On: part(c.part), Extensions: ext}).Start(t, "")
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			cl := smtpc.NewLMTP(t.Context(), conn, "client.test", smtpc.Timeouts{})
			if err := cl.Hello(); err != nil {
				t.Fatal(err)
			}
			results, usable, err := cl.Send(message(text, "b@far.test", "c@far.test", "d@far.test"))
			// Who waits for each reply never says DATA for nobody.
			stepwise := c.what == "the data of nobody" && ext == nil
			if got := show(results); err != nil || got != c.want || usable != (c.usable || stepwise) {
				t.Errorf("%s %v: got %s, usable %v, %v; want %s, usable %v", c.what, ext, got, usable, err, c.want, c.usable)
			}
			if usable {
				if results, _, err = cl.Send(message(text, "e@far.test")); err != nil || len(results) != 1 {
					t.Errorf("%s: second message: %v", c.what, err)
				}
			}
			cl.Close()
			s.Close()
		}
	}
}

func TestLMTPServerIsNotGreetedInAnotherWay(t *testing.T) {
	s := (&mtatest.Sink{}).Start(t, "") // an SMTP server
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cl := smtpc.NewLMTP(t.Context(), conn, "client.test", smtpc.Timeouts{})
	defer cl.Close()
	if err := cl.Hello(); err == nil || len(s.Commands()) != 1 {
		t.Errorf("got %v after %q, want a refusal after LHLO", err, s.Commands())
	}
}
