package spamassassin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/spamassassin"
)

const message = "Received: here\r\nX-SPAM-Flag: NO\r\nX-Spam-Old: 1\r\nX-Spam-Flag: no\r\nFrom: a@far.test\r\nSubject: a\r\n folded  one\r\n\r\nbody\r\n"

func judge(t *testing.T, settings, sender, text string) (*filters.Verdict, error) {
	t.Helper()
	f := &spamassassin.Filter{Version: "1"}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+settings)); err != nil {
		t.Fatal(err)
	}
	v, err := f.Message(t.Context(), &filters.Event{Sender: sender, Message: filtertest.Message(t, text)})
	if v == nil {
		v = &filters.Verdict{}
	}
	return v, err
}

// take reads a whole question: its command, its fields and the message.
func take(c net.Conn) (head []string, body string) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, ""
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		head = append(head, line)
	}
	b, _ := io.ReadAll(r)
	return head, string(b)
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		take(c)
		_, _ = io.WriteString(c, text)
	}
}

// scored is an answer with a header.
func scored(spam, header string) string {
	return fmt.Sprintf("SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: %s\r\n\r\n%s", len(header), spam, header)
}

func TestWhatIsNoAnswer(t *testing.T) {
	endless := func(start, rest string) func(net.Conn) {
		return func(c net.Conn) {
			take(c)
			_, _ = io.WriteString(c, start)
			for {
				if _, err := io.WriteString(c, rest); err != nil {
					return
				}
			}
		}
	}
	early := func(text string) func(net.Conn) { // it reads no more than the command
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 10))
			_, _ = io.WriteString(c, text)
			_ = c.(interface{ CloseRead() error }).CloseRead()
		}
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		more  string
		want  string
	}{
		{"nothing", nil, "timeout = \"500ms\"", "has not answered within 500ms"},
		{"it hangs up", func(net.Conn) {}, "", "127.0.0.1:"},
		{"an empty answer", says(""), "", "without an answer"},
		{"an endless line", endless("", strings.Repeat("x", 4096)), "", "too long"},
		{"an endless header", endless("SPAMD/1.1 0 EX_OK\r\n", "X: x\r\n"), "", "more than 32 lines"},
		{"a line cut off", says("SPAMD/1.1 0"), "", `within its answer "SPAMD/1.1 0"`},
		{"a header cut off", says("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n"), "", "without an answer"},
		{"another protocol", says("220 mx.far.test ESMTP\r\n"), "", `it says "220 mx.far.test ESMTP"`},
		{"an error", says("SPAMD/1.0 79 Timeout: took too long\r\n"), "", "79 Timeout: took too long"},
		{"an error to the half", early("SPAMD/1.0 76 Bad header line: x\r\n"), "", "127.0.0.1:"},
		{"a verdict on the half", early(scored("False ; 0.0 / 5.0", "")), "", "127.0.0.1:"},
		{"no verdict", says("SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n"), "", "does not say whether"},
		{"a verdict of another kind", says(scored("Maybe ; 1.0 / 5.0", "")), "", `it says "Spam: Maybe`},
		{"no score", says(scored("True", "")), "", `it says "Spam: True"`},
		{"a score that is no number", says(scored("True ; nan / 5.0", "")), "", "it says"},
		{"a score beyond numbers", says(scored("True ; 1e999 / 5.0", "")), "", "it says"},
		{"a length below zero", says("SPAMD/1.1 0 EX_OK\r\nContent-length: -1\r\nSpam: True ; 9.0 / 5.0\r\n\r\n"), "", "it says"},
		{"a length beyond bounds", says("SPAMD/1.1 0 EX_OK\r\nContent-length: 2097153\r\nSpam: True ; 9.0 / 5.0\r\n\r\n"), "", "it says"},
		{"no length", says("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\n"), "", "how long"},
		{"less than it has promised", says("SPAMD/1.1 0 EX_OK\r\nContent-length: 99\r\nSpam: True ; 9.0 / 5.0\r\n\r\nX-Spam-Flag: YES\r\n"), "", "after 18 of 99 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.serve == nil {
				c.serve = func(nc net.Conn) { take(nc); <-t.Context().Done() }
			}
			text := message
			if strings.Contains(c.name, "half") { // more than the network holds while nobody reads
				text += strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000)
			}
			v, err := judge(t, "max_size = \"20MB\"\naddress = \""+daemontest.Serve(t, "tcp", c.serve)+"\"\n"+c.more, "a@far.test", text)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
				t.Fatalf("got %+v, %v; want the error %s", v, err, c.want)
			}
		})
	}
}

func TestWhatAScoreDoes(t *testing.T) {
	const ours = "-X-SPAM-Flag[0] -X-Spam-Old[0]"
	yes := "Return-Path: <a@far.test>\r\nX-Spam-Flag: YES\r\nX-Spam-Status: Yes,\r\n\tscore=9\r\nSubject: SPAM a folded one\r\nContent-Type: x/y\r\nX-Spam-: x\r\nX-Spam-Report: \r\n\t* a\r\n\r\nX-Spam-Body: x\r\n"
	added := " +X-Spam-Report=* a +X-Spam-Status=Yes,\n\tscore=9 +X-Spam-Flag=YES Subject[1]=SPAM a folded one"
	for _, c := range []struct {
		name, settings, answer string
		action                 filters.Action
		text                   string
		score                  float64
		edits                  string
	}{
		{"ham", "", scored("False ; -0.5 / 5.0", "X-Spam-Status: No\r\nSubject: a folded  one\r\n\r\n"), filters.Continue, "", 0, ours + " +X-Spam-Status=No"},
		{"ham, with a Subject of its own", "", scored("False ; 0.0 / 5.0", "Subject: mine\r\n\r\n"), filters.Continue, "", 0, ours},
		{"spam", "", scored("True ; 9.0 / 5.0", yes), filters.Quarantine, "SpamAssassin: 9.0 of 5.0", 0, ours + added},
		{"spam, line ends of Unix", "", scored("Yes ; 9.0 / 5.0", strings.ReplaceAll(yes, "\r\n", "\n")), filters.Quarantine, "SpamAssassin: 9.0 of 5.0", 0, ours + added},
		{"spam that passes, with its score", "on_spam = \"none\"\nscore = 2", scored("True ; 9.0 / 5.0", ""), filters.Continue, "", 18, ours},
		{"spam, refused", "on_spam = \"reject\"", scored("True ; 9.0 / 5.0", yes), filters.Reject, "Spam message rejected", 0, ""},
		{"refused by its score", "reject = 9.0", scored("True ; 9.0 / 5.0", yes), filters.Reject, "Spam message rejected", 0, ""},
		{"not refused by its score", "reject = 9.1", scored("True ; 9.0 / 5.0", ""), filters.Quarantine, "SpamAssassin: 9.0 of 5.0", 0, ours},
		{"without its fields", "headers = false", "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\n", filters.Quarantine, "SpamAssassin: 9.0 of 5.0", 0, ""},
		{"fields that would break out", "", scored("False ; 0.0 / 5.0", "X-Spam-A: a\rBcc: b\x00\r\nX-Spam B: b\r\nX-Spam-\xff: c\r\n\t\r\n folded into nothing\r\n"), filters.Continue, "", 0, ours + " +X-Spam-A=a?Bcc: b?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, "address = \""+daemontest.Serve(t, "unix", says(c.answer))+"\"\n"+c.settings, "a@far.test", message)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(v.Edits(), " "); v.Action != c.action || v.Text != c.text || v.Score != c.score || got != c.edits {
				t.Fatalf("got %d %q %v, %q; want %d %q %v, %q", v.Action, v.Text, v.Score, got, c.action, c.text, c.score, c.edits)
			}
			if n := v.Notes[0]; (n.Result == "spam") != (c.action != filters.Continue || c.score > 0) || !n.Hidden || n.Get("policy", "score") == "" {
				t.Errorf("got the note %+v", n)
			}
		})
	}
}

// TestNoNumberOfFieldsSavesAForgedOne has it behind more than are removed.
func TestNoNumberOfFieldsSavesAForgedOne(t *testing.T) {
	var own strings.Builder
	for i := range 500 {
		fmt.Fprintf(&own, "X-Spam-%d: x\r\n", i)
	}
	v, err := judge(t, "address = \""+daemontest.Serve(t, "tcp", says(scored("True ; 9.0 / 5.0", "X-Spam-Status: Yes\r\n")))+"\"", "", own.String()+"X-Spam-Status: No\r\n"+message)
	if got := strings.Join(v.Edits(), " "); err != nil || !strings.Contains(got, "-X-Spam-Status[0] ") {
		t.Errorf("got %.100q, %v, want that it goes", got, err)
	}
}

func TestNoMoreEditsThanTheHostTakes(t *testing.T) {
	var own, said strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&own, "X-Spam-%d: x\r\n", i)
		fmt.Fprintf(&said, "X-Spam-%d: y\r\n", i)
	}
	v, err := judge(t, "address = \""+daemontest.Serve(t, "tcp", says(scored("True ; 9.0 / 5.0", said.String())))+"\"", "", own.String()+message)
	if n := len(v.Edits()); err != nil || n != 450 {
		t.Errorf("got %d edits, %v", n, err)
	}
}

func TestWhatSpamdIsTold(t *testing.T) {
	type told struct {
		head []string
		body string
	}
	seen := make(chan told, 1)
	address := daemontest.Serve(t, "tcp", func(c net.Conn) {
		head, body := take(c)
		seen <- told{head, body}
		_, _ = io.WriteString(c, scored("False ; 0.0 / 5.0", ""))
	})
	for _, c := range []struct{ settings, sender, head, body string }{
		{"user = \"é b\"", "a@far.test\r\nX: y", "HEADERS SPAMC/1.5|Content-length: 148|User: é b", "Return-Path: <a@far.testX: y>\r\n"},
		{"headers = false", "", "CHECK SPAMC/1.5|Content-length: 134", "Return-Path: <>\r\n"},
	} {
		if _, err := judge(t, c.settings+"\naddress = \""+address+"\"", c.sender, message); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; strings.Join(got.head, "|") != c.head || got.body != c.body+message {
			t.Errorf("got %q, %q", got.head, got.body)
		}
	}
}

func TestOneThatIsTooLargeIsNotShown(t *testing.T) {
	if v, err := judge(t, "address = \"unix:/nonexistent\"\nmax_size = \"10\"", "", message); err != nil || v.Action != filters.Continue {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"address = \"spamd\"", "line 2: address"},
		{"timeout = \"0s\"", "line 2: timeout"},
		{"max_size = \"0\"", "line 2: max_size"},
		{"user = \"a\\nb\"", "line 2: user"},
		{"user = \" a\"", "line 2: user"},
		{"user = \"" + strings.Repeat("x", 257) + "\"", "line 2: user"},
		{"on_spam = \"discard\"", "line 2: on_spam"},
		{"reject = -1.0", "line 2: reject"},
		{"reject = nan", "line 2: reject"},
		{"score = inf", "line 2: score"},
		{"header = true", "unknown key"},
	} {
		err := (&spamassassin.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func TestARealSpamd(t *testing.T) {
	settings := "timeout = \"1m\"\naddress = \"" + daemontest.Spamd(t) + "\"\n"
	text := func(body string) string {
		return "Received: from h.far.test (c.far.test [192.0.2.1])\r\n\tby mx.here.test with ESMTP\r\n\tid 1K0ZRAC0VZ7FB7X7;\r\n\tSat, 28 Nov 2026 13:00:00 +0000\r\n" +
			"X-Spam-Status: No, I am good\r\nMessage-ID: <x@far.test>\r\nFrom: a@far.test\r\nSubject: a\r\n\tfolded one\r\n\r\n" + body + "\r\n"
	}
	for _, c := range []struct {
		name, settings, text string
		action               filters.Action
		said                 string
		edits                string
	}{
		{"good", "", text("Hello"), filters.Continue, "", "-X-Spam-Status[0] +X-Spam-Status=No, score=0.5 tests=CLIENT,SENDER"},
		{"GTUBE", "", text(daemontest.GTUBE), filters.Quarantine, "SpamAssassin: 1000.5 of 5.0",
			"-X-Spam-Status[0] +X-Spam-Prev-Subject=a +X-Spam-Status=Yes, score=1000.5 tests=CLIENT,GTUBE,SENDER +X-Spam-Flag=YES Subject[1]=[SPAM] a\n\tfolded one"},
		{"GTUBE, refused", "reject = 100", text(daemontest.GTUBE), filters.Reject, "Spam message rejected", ""},
		{"GTUBE, without fields", "headers = false", text(daemontest.GTUBE), filters.Quarantine, "SpamAssassin: 1000.5 of 5.0", ""},
		{"large", "", text(strings.Repeat("A line of text.\r\n", 20_000)), filters.Continue, "", "-X-Spam-Status[0] +X-Spam-Status=No, score=0.5 tests=CLIENT,SENDER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, settings+c.settings, "a@far.test", c.text)
			if err != nil {
				t.Fatal(err)
			}
			edits := slices.DeleteFunc(v.Edits(), func(e string) bool { return strings.HasPrefix(e, "+X-Spam-Checker-Version=") }) // where and by what
			if got := strings.Join(edits, " "); v.Action != c.action || v.Text != c.said || got != c.edits {
				t.Errorf("got %d %q %q; want %d %q %q", v.Action, v.Text, got, c.action, c.said, c.edits)
			}
		})
	}
}
