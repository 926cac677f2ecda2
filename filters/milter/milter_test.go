package milter_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/milter"
)

const text = "Received: from far.test\r\n\tby mx.here.test with ESMTP\r\n\tid 1K0ZRAC0VZ7FB7X7;\r\n\tdate\r\n" +
	"Received: older\r\nFrom:  a@far.test\r\nSubject: x\r\n\ty\r\nMessage-ID: <m@far.test>\r\n\r\nbody\r\n"

// packet is one of the protocol.
func packet(code byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(code) + data
}

// options is how a milter answers to what is offered.
func options(version, actions, protocol uint32, macros string) string {
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint32(b, actions)
	return packet('O', string(binary.BigEndian.AppendUint32(b, protocol))+macros)
}

const all = 0x1ff // actions

// fake answers like a milter, by the code of each command; "" = it hangs up, and a code that is not there gets "continue".
type fake struct {
	negotiate string
	says      map[byte]string
	mute      string        // the codes of commands that get no answer
	told      chan []string // what it has heard, when the connection has ended
}

func (m fake) serve(c net.Conn) {
	var told []string
	if m.told != nil {
		defer func() { m.told <- told }()
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > 70_000 {
			return
		}
		data := make([]byte, n-1)
		if _, err := io.ReadFull(c, data); err != nil {
			return
		}
		told = append(told, string(head[4])+strings.ReplaceAll(string(data), "\x00", "|"))
		answer, ok := m.says[head[4]]
		switch {
		case head[4] == 'O':
			answer = m.negotiate
			if answer == "" {
				answer = options(6, all, 0, "")
			}
		case head[4] == 'D' || head[4] == 'A' || strings.IndexByte(m.mute, head[4]) >= 0:
			continue
		case head[4] == 'Q' || ok && answer == "":
			return
		case !ok:
			answer = packet('c', "")
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func event() *filters.Event {
	return &filters.Event{
		Role: "mx", Listener: "192.0.2.25:25", Client: netip.MustParseAddrPort("[::ffff:192.0.2.1]:4025"), ClientName: "c.far.test", Helo: "h.far.test",
		ESMTP: true, TLSVersion: "TLSv1.3", TLSCipher: "X", HasSender: true, Sender: "a@far.test", BodyType: "8BITMIME", SizeParam: 7, SMTPUTF8: true,
		Recipients: []string{"b@here.test", "c@other.test"},
	}
}

func configured(t *testing.T, settings string) *milter.Filter {
	t.Helper()
	f := &milter.Filter{Version: "1"}
	if err := f.Configure(&filters.Site{Hostname: "mx.here.test", LocalDomains: []string{"here.test"}}, filters.NewSettings("[settings]\n"+settings)); err != nil {
		t.Fatal(err)
	}
	return f
}

func judge(t *testing.T, settings, text string) (*filters.Verdict, error) {
	t.Helper()
	e := event()
	e.Message = filtertest.Message(t, text)
	v, err := configured(t, settings).Message(t.Context(), e)
	if v == nil {
		v = &filters.Verdict{}
	}
	return v, err
}

func address(t *testing.T, m fake) string {
	t.Helper()
	return "address = \"" + daemontest.Serve(t, "unix", m.serve) + "\"\n"
}

func TestOneThatBreaksTheProtocol(t *testing.T) {
	end := func(said ...string) fake { return fake{says: map[byte]string{'E': strings.Join(said, "")}} }
	begin := func(said string) fake { return fake{negotiate: said} }
	big := packet('q', strings.Repeat("x", 1<<20-2)+"\x00")
	for _, c := range []struct {
		name string
		m    fake
		want string
	}{
		{"it hangs up", fake{says: map[byte]string{'C': ""}}, "has closed the connection"},
		{"it hangs up in the body", fake{says: map[byte]string{'B': ""}}, "has closed the connection"},
		{"it hangs up at the end", fake{says: map[byte]string{'E': ""}}, "has closed the connection"},
		{"half a packet", fake{says: map[byte]string{'E': "\x00\x00\x00\x05c"}}, "has not answered within 300ms"},
		{"no packet", begin("220 mx.far.test ESMTP\r\n"), "is it a milter?"},
		{"an empty packet", begin("\x00\x00\x00\x00\x00"), "a packet of 0 octets"},
		{"a packet of all memory", begin("\xff\xff\xff\xffO"), "a packet of 4294967295 octets"},
		{"it begins with something else", begin(packet('c', "")), "it begins with"},
		{"it begins with the half", begin(packet('O', "\x00\x00\x00\x06")), "it begins with"},
		{"an old version", begin(options(1, all, 0, "")), "version 1 "},
		{"a new version", begin(options(7, all, 0, "")), "version 7 "},
		{"actions of its own", begin(options(6, 0x1000, 0, "")), "actions that are not known (0x1000)"},
		{"options of its own", begin(options(6, all, 0x80000000, "")), "options that are not known (0x80000000)"},
		{"macros that end early", begin(options(6, all, 0, "\x00\x00")), "cut off"},
		{"macros without an end", begin(options(6, all, 0, "\x00\x00\x00\x01i j")), "cut off"},
		{"no answer that is known", fake{says: map[byte]string{'M': packet('Z', "")}}, `says 'Z'`},
		{"a change too early", fake{says: map[byte]string{'M': packet('h', "A\x00b\x00")}}, `says 'h'`},
		{"a skip of what cannot be", fake{negotiate: options(6, all, 0x400, ""), says: map[byte]string{'H': packet('s', "")}}, "skip"},
		{"a skip that was not agreed on", fake{says: map[byte]string{'L': packet('s', "")}}, "skip"},
		{"a skip of the end", end(packet('s', "")), "skip"},
		{"a reply that is none", fake{says: map[byte]string{'M': packet('y', "250 ok\x00")}}, `wants to reply "250 ok"`},
		{"a reply without an end", fake{says: map[byte]string{'M': packet('y', "550 no")}}, "without an end"},
		{"a reply of two kinds", fake{says: map[byte]string{'M': packet('y', "550-no\r\n250 ok\x00")}}, "wants to reply"},
		{"nothing for a reply", fake{says: map[byte]string{'M': packet('y', "")}}, "0 strings, want 1"},
		{"time, and time again", end(strings.Repeat(packet('p', ""), 100)), "has not answered within 300ms"},
		{"a field with no name", end(packet('h', "A B\x00c\x00")), "is no name"},
		{"a field with a header in its name", end(packet('h', "A: b\r\nC\x00c\x00")), "is no name"},
		{"a field with no value", end(packet('h', "A\x00")), "1 strings, want 2"},
		{"a change of no place", end(packet('m', "\x00")), "without its place"},
		{"too many changes", end(strings.Repeat(packet('h', "A\x00b\x00"), 1001)), "more than 1000 changes"},
		{"too much of it", end(big, big, big, big, big), "more than anybody wants to know"},
		{"a body in parts", end(packet('b', "x"), packet('h', "A\x00b\x00"), packet('b', "y"), packet('c', "")), "in several parts"},
		{"a body without end", end(strings.Repeat(packet('b', strings.Repeat("x", 1<<20-1)), 17)), "more than anybody wants to know"},
		{"a body, and then nothing", end(packet('b', "x")), "has not answered within 300ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := "60s" // for what needs no timeout, however slow the machine is
			if strings.Contains(c.want, "300ms") {
				timeout = "300ms"
			}
			v, err := judge(t, address(t, c.m)+"timeout = \""+timeout+"\"", text)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
				t.Fatalf("got %+v, %v; want the error %s", v, err, c.want)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	settings := "address = \"unix:" + filepath.Join(t.TempDir(), "none") + "\""
	if _, err := judge(t, settings, text); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v, want that there is no such file", err)
	}
	e := event()
	e.Recipient = "b@here.test"
	if _, err := configured(t, settings).Recipient(t.Context(), e); err == nil {
		t.Error("at RCPT: got no error")
	}
}

func TestAMessageThatCannotBeRead(t *testing.T) {
	e := event()
	e.Message = filtertest.Lost(t)
	if _, err := configured(t, address(t, fake{})).Message(t.Context(), e); err == nil || !strings.HasPrefix(err.Error(), "reading the message: open ") {
		t.Errorf("got %v, want the file's error and no word of the milter", err)
	}
}

func TestWhatAMilterDecides(t *testing.T) {
	at := func(code byte, said string) fake { return fake{says: map[byte]string{code: said}} }
	for _, c := range []struct {
		name string
		m    fake
		want string // action code enhanced text
	}{
		{"nothing", fake{}, "0 0 "},
		{"accept the client", at('C', packet('a', "")), "0 0 "},
		{"refuse the client", at('C', packet('r', "")), "2 0 "},
		{"no discarding of clients", at('C', packet('d', "")), "0 0 "},
		{"refuse HELO for now", at('H', packet('t', "")), "3 0 "},
		{"discard the sender's", at('M', packet('d', "")), "4 0 "},
		{"a reply to a recipient", at('R', packet('y', "451 4.7.1 later\x00")), "3 451 4.7.1 later"},
		{"a reply that ends it all", at('T', packet('y', "421 4.7.0 go away\x00")), "3 451 4.7.0 go away"},
		{"a reply at a field", at('L', packet('y', "554 no such \xe9 field\r\n\x00")), "2 554  no such ? field"},
		{"a reply of several lines", at('N', packet('y', "550-5.7.1 one\r\n550-5.7.1 100%%\r\n550 5.7.1 three\x00")), "2 550 5.7.1 one 100% three"},
		{"a reply without words", at('B', packet('y', "550\x00")), "2 550 "},
		{"another class within", at('B', packet('y', "550 4.7.1 x\x00")), "2 550  x"},
		{"a failed connection", at('E', packet('f', "")), "3 0 "},
		{"it is ending", at('E', packet('4', "")), "3 0 "},
		{"it needs more time", at('E', strings.Repeat(packet('p', ""), 100)+packet('r', "")), "2 0 "},
		{"quarantine", at('E', packet('q', "odd\r\nX: y\x00")+packet('c', "")), "5 0  odd??X: y"},
		{"changes of what is refused", at('E', packet('h', "A\x00b\x00")+packet('b', "new")+packet('r', "")), "2 0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, address(t, c.m), text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimRight(fmt.Sprint(v.Action, " ", v.Code, " ", v.Enhanced, " ", v.Text), " "); got != strings.TrimRight(c.want, " ") || len(v.Edits()) > 0 {
				t.Errorf("got %q, edits %v; want %q", got, v.Edits(), c.want)
			}
		})
	}
}

func TestWhatAMilterChanges(t *testing.T) {
	place := func(n uint32, rest string) string { return string(binary.BigEndian.AppendUint32(nil, n)) + rest }
	for _, c := range []struct{ name, said, want string }{
		{"nothing", "", ""},
		{"add and insert", packet('h', "A\x00b\x00") + packet('i', place(0, "C\x00d\x00")) + packet('i', place(5, "E\x00\x00")), "A=b+|+C=d|+E="},
		{"change and delete", packet('m', place(2, "A\x00b\x00")) + packet('m', place(0, "C\x00d\x00")) + packet('m', place(3, "E\x00\x00")), "A[2]=b|C[1]=d|-E[3]"},
		{"not our Received", packet('m', place(1, "received\x00\x00")), "-received[2]"},
		{"a signature, to the octet", packet('i', place(1, "DKIM-Signature\x00  v=1; \n\tb=x\x00")), "+DKIM-Signature=  v=1; \n\tb=x"},
		{"values that would break out", packet('h', "A\x00b\r\n\r\nbody\x00") + packet('h', "C\x00d\nX: y\x00") + packet('h', "E\x00\xff\r\x00"), "A=b\n\tbody+|C=d\n\tX: y+|E=??+"},
		{"octets of any charset", packet('m', place(1, "Subject\x00Gr\xfc\xdfe\x00")), "Subject[1]=Gr\xfc\xdfe"},
		{"the envelope", packet('e', "<n@far.test>\x00SIZE=5\x00") + packet('e', "<>\x00") + packet('+', "<d@here.test>\x00") + packet('2', "e@here.test\x00NOTIFY=NEVER\x00") + packet('-', "<b@here.test>\x00"),
			"from=n@far.test|from=|+to=d@here.test|+to=e@here.test|-to=b@here.test"},
		{"a body", packet('b', "new ") + packet('b', "") + packet('p', "") + packet('b', "body\r\n") + packet('h', "A\x00b\x00"), "body|A=b+"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := event()
			dir := t.TempDir()
			body := filepath.Join(dir, "body")
			path := daemontest.Write(t, dir, "message", text)
			m, err := filters.FileMessage("1K0ZRAC0VZ7FB7X7", path, body)
			if err != nil {
				t.Fatal(err)
			}
			e.Message = m
			v, err := configured(t, address(t, fake{says: map[byte]string{'E': c.said + packet('c', "")}})).Message(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(v.Edits(), "|"); got != c.want || v.Action != filters.Continue {
				t.Errorf("got %d, %q; want %q", v.Action, got, c.want)
			}
			if strings.HasPrefix(c.want, "body") {
				if b, err := os.ReadFile(body); err != nil || string(b) != "new body\r\n" {
					t.Errorf("the new body: got %q, %v", b, err)
				}
			}
		})
	}
}

const offer = "O|||\x06||\x01\xff|\x1f\xf7\xff"

func wantTold(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestAMilterIsToldAllThatIsKnown(t *testing.T) {
	m := fake{told: make(chan []string, 1)}
	if _, err := judge(t, address(t, m), text); err != nil {
		t.Fatal(err)
	}
	wantTold(t, <-m.told, offer,
		"DCj|mx.here.test|_|c.far.test [192.0.2.1]|v|Posthouse 1|{daemon_name}|mx|{daemon_addr}|192.0.2.25|{daemon_port}|25|{if_name}|mx.here.test|{if_addr}|192.0.2.25|"+
			"{client_addr}|192.0.2.1|{client_name}|c.far.test|{client_port}|4025|{client_ptr}|c.far.test|",
		"Cc.far.test|4\x0f\xb9192.0.2.1|",
		"DHs|h.far.test|r|ESMTPS|{tls_version}|TLSv1.3|{cipher}|X|", "Hh.far.test|",
		"DMi|1K0ZRAC0VZ7FB7X7|{mail_addr}|a@far.test|{mail_host}|far.test|{mail_mailer}|esmtp|{client_addr}|192.0.2.1|{client_name}|c.far.test|",
		"M<a@far.test>|SIZE=7|BODY=8BITMIME|SMTPUTF8|",
		"DRi|1K0ZRAC0VZ7FB7X7|{rcpt_addr}|b@here.test|{rcpt_host}|here.test|{rcpt_mailer}|local|", "R<b@here.test>|",
		"DRi|1K0ZRAC0VZ7FB7X7|{rcpt_addr}|c@other.test|{rcpt_host}|other.test|{rcpt_mailer}|esmtp|", "R<c@other.test>|",
		"DTi|1K0ZRAC0VZ7FB7X7|{nrcpts}|2|", "T",
		"LReceived|older|", "LFrom| a@far.test|", "LSubject|x\n\ty|", "LMessage-ID|<m@far.test>|", "DNi|1K0ZRAC0VZ7FB7X7|", "N", "Bbody\r\n",
		"DEi|1K0ZRAC0VZ7FB7X7|{msg_id}|<m@far.test>|", "E", "Q")
}

// TestAMilterIsToldNoMoreThanItWants has one that wants macros of its own choice; neither connect, HELO, DATA nor the end of the
// header; an answer to nothing but RCPT and what it wants one of, with the blank in front.
func TestAMilterIsToldNoMoreThanItWants(t *testing.T) {
	m := fake{
		negotiate: options(6, 0, 0x1|0x2|0x200|0x40|0x4000|0x400|0x100000, "\x00\x00\x00\x02{auth_authen} {auth_type},{nothing}\x00\x00\x00\x00\x63x\x00"),
		says:      map[byte]string{'R': packet('s', ""), 'L': packet('s', ""), 'B': packet('s', "")},
		mute:      "M",
		told:      make(chan []string, 1),
	}
	e := event()
	e.Login, e.Message = "ann", filtertest.Message(t, strings.Replace(text, "older", "  older", 1)+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 2000))
	if _, err := configured(t, address(t, m)).Message(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got := <-m.told
	for i, s := range got {
		got[i] = s[:min(len(s), 40)]
	}
	wantTold(t, got, offer, "DM{auth_authen}|ann|{auth_type}|PLAIN|", "M<a@far.test>|SIZE=7|BODY=8BITMIME|SMTPU", "DRi|1K0ZRAC0VZ7FB7X7|{rcpt_addr}|b@here.", "R<b@here.test>|",
		"LReceived|   older|", "Bbody\r\n"+strings.Repeat("x", 33), "DEi|1K0ZRAC0VZ7FB7X7|{msg_id}|<m@far.tes", "E", "Q")
}

func TestMailOfThisMachineAndOddEvents(t *testing.T) {
	for _, c := range []struct {
		name string
		e    filters.Event
		want []string
	}{
		{"local", filters.Event{Role: "local", Listener: "unix:/s", Local: true, HasSender: true}, []string{"Clocalhost|4||127.0.0.1|", "M<>|"}},
		{"unknown", filters.Event{Helo: "h"}, []string{"Cunknown|U", "Hh|", "M<>|"}},
		{"no name", filters.Event{Client: netip.MustParseAddrPort("[2001:db8::1%eth0]:1")}, []string{"C[2001:db8::1]|6|\x012001:db8::1|", "M<>|"}},
		{"NUL", filters.Event{Helo: "a\x00b", Sender: "x\x00@far.test"}, []string{"Cunknown|U", "Hab|", "M<x@far.test>|"}},
	} {
		m := fake{told: make(chan []string, 1)}
		c.e.Message = filtertest.Message(t, "\r\n")
		if _, err := configured(t, address(t, m)).Message(t.Context(), &c.e); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range <-m.told {
			if strings.IndexByte("CHMLB", s[0]) >= 0 {
				got = append(got, s)
			}
		}
		t.Run(c.name, func(t *testing.T) { wantTold(t, got, c.want...) })
	}
}

// TestAFieldLargerThanAPacketIsShownAsFarAsItGoes: whoever sends one does not get round the milter by it.
func TestAFieldLargerThanAPacketIsShownAsFarAsItGoes(t *testing.T) {
	m := fake{told: make(chan []string, 1), says: map[byte]string{'E': packet('r', "")}}
	v, err := judge(t, address(t, m), "X: "+strings.Repeat(strings.Repeat("y", 900)+"\r\n\t", 100)+"\r\n\r\nbody\r\n")
	if err != nil || v.Action != filters.Reject {
		t.Fatalf("got %+v, %v, want that it decides", v, err)
	}
	for _, s := range <-m.told {
		if s[0] == 'L' && len(s) != 1+65535 {
			t.Errorf("got %d octets of the field, want 65535", len(s)-1)
		}
	}
}

func TestAHeaderOfVeryManyFieldsIsRefused(t *testing.T) {
	v, err := judge(t, "address = \"unix:/nonexistent\"", "From: a@far.test\r\n"+strings.Repeat("A:\r\n", 10_000)+"\r\nbody\r\n")
	if err != nil || v.Action != filters.Reject || v.Code != 554 {
		t.Errorf("got %+v, %v, want 554", v, err)
	}
}

func TestRecipientsAreAskedAboutOneByOne(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		m              fake
		want           string
		calls          int // connections that two recipients make
	}{
		{"taken", "", fake{}, "0", 2},
		{"refused", "", fake{says: map[byte]string{'R': packet('y', "550 5.1.1 no\x00")}}, "2 550 5.1.1 no", 2},
		{"a client that is refused", "", fake{says: map[byte]string{'C': packet('t', "")}}, "3", 2},
		{"discarded with the message", "", fake{says: map[byte]string{'R': packet('d', "")}}, "0", 2},
		{"nothing is decided before DATA", "", fake{negotiate: options(6, all, 0x1|0x2|0x4000|0x8000, ""), mute: "MR"}, "0", 1},
		{"not by setting", "early = false\n", fake{says: map[byte]string{'R': packet('r', "")}}, "0", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.m.told = make(chan []string, 2)
			f := configured(t, c.settings+address(t, c.m))
			for range 2 {
				e := event()
				e.Recipient = "d@here.test"
				v, err := f.Recipient(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				if v == nil {
					v = &filters.Verdict{}
				}
				if got := strings.TrimRight(fmt.Sprint(v.Action, " ", v.Code, " ", v.Enhanced, " ", v.Text), " 0"); got != strings.TrimRight(c.want, "0") {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
			for range c.calls {
				for _, s := range <-c.m.told {
					if strings.HasPrefix(s, "R") && s != "R<d@here.test>|" || s[0] == 'T' || s[0] == 'E' {
						t.Errorf("at RCPT it is told %q", s)
					}
				}
			}
			if len(c.m.told) > 0 {
				t.Errorf("it was asked more than %d times", c.calls)
			}
		})
	}
}

func TestOneThatIsTooLargeIsNotShown(t *testing.T) {
	for setting, want := range map[string]filters.Action{"none": filters.Continue, "reject": filters.Reject, "quarantine": filters.Quarantine} {
		v, err := judge(t, "address = \"unix:/nonexistent\"\nmax_size = \"10\"\non_too_large = \""+setting+"\"", text)
		if err != nil || v.Action != want {
			t.Errorf("%s: got %+v, %v", setting, v, err)
		}
	}
}

func TestSeveralHaveNamesOfTheirOwn(t *testing.T) {
	if got := (&milter.Filter{Name: "milter-two"}).Describe().Name; got != "milter-two" {
		t.Errorf("got %q", got)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"address = \"inet:8891@localhost\"", "line 2: address"},
		{"address = \"local:/run/x\"", "line 2: address"},
		{"timeout = \"0s\"", "line 2: timeout"},
		{"max_size = \"5GB\"", "line 2: max_size"},
		{"on_too_large = \"discard\"", "line 2: on_too_large"},
		{"early = 1", "early"},
		{"socket = \"x\"", "unknown key"},
	} {
		err := (&milter.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
