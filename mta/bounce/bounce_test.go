package bounce_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/bounce"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func addr(t testing.TB, s string) mta.Address {
	t.Helper()
	a, err := mta.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const message = "From: alice@example.test\r\nSubject: hello\r\nMessage-ID: <1@example.test>\r\n\r\nThe body.\r\n"

func params(t testing.TB, text string) bounce.Params {
	return bounce.Params{
		ID: "0123456789ABCDEFF0", Hostname: "mx.example.test", Now: time.Unix(1e9, 0).UTC(),
		Envelope: &mta.Envelope{V: 1, ID: "0123456789ABCDEF", Sender: addr(t, "alice@example.test"), Arrived: time.Unix(999999000, 0).UTC()},
		Rcpts: []bounce.Rcpt{{
			Recipient: mta.Recipient{Address: addr(t, "bob@far.test")}, Action: bounce.Failed,
			Outcome: mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.1.1", Text: "No such user", Host: "mx.far.test",
				Addr: "192.0.2.1:25", At: time.Unix(999999500, 0).UTC(), Cause: errors.New("secret local detail")},
		}},
		Message: strings.NewReader(text), Size: int64(len(text)),
	}
}

func build(t testing.TB, p bounce.Params) []byte {
	t.Helper()
	var b bytes.Buffer
	eightBit, err := bounce.Build(&b, p)
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, b.Bytes(), !p.SMTPUTF8() && !eightBit)
	return b.Bytes()
}

// checkWire holds what every server on the way relies on.
func checkWire(t testing.TB, b []byte, ascii bool) {
	t.Helper()
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Errorf("does not end in CR LF: %q", b[max(0, len(b)-40):])
	}
	for i, line := range bytes.Split(b, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d: %d octets, %.80q", i+1, len(line), line)
		}
		if ascii && bytes.ContainsFunc(line, func(c rune) bool { return c >= 0x80 }) {
			t.Errorf("line %d is not ASCII: %q", i+1, line)
		}
	}
}

func TestHostileWordsStayInTheirField(t *testing.T) {
	p := params(t, "Subject: x\r\n\r\n")
	o := &p.Rcpts[0].Outcome
	o.Text = "gone\r\nBcc: evil@far.test\n\n--boundary\n" + strings.Repeat("x", 3000) + " \x00\x1b[2J über"
	o.Host = "evil\r\nX-Evil: 1"
	p.Rcpts[0].ORcpt = "rfc822;x+0D+0AAction:+20delivered"
	p.Envelope.EnvID = "a+0D+0AAction:+20delivered"
	r := parsed(t, build(t, p))
	if len(r.Recipients) != 1 || r.Recipients[0]["action"] != "failed" || r.Header["bcc"] != "" || r.Recipients[0]["x-evil"] != "" {
		t.Errorf("injected: %+v", r)
	}
	if !strings.Contains(r.Text, "über") || strings.Contains(r.Text, "\x1b") {
		t.Errorf("text: %q", r.Text)
	}
}

func TestLocalDetailIsNotTold(t *testing.T) {
	if b := build(t, params(t, message)); bytes.Contains(b, []byte("secret")) {
		t.Errorf("the cause is in the report:\n%s", b)
	}
}

func TestReportIsNotMadeForNobody(t *testing.T) {
	p := params(t, message)
	p.Envelope.Sender = mta.Address{}
	if _, err := bounce.Build(&bytes.Buffer{}, p); !errors.Is(err, bounce.ErrNoSender) {
		t.Errorf("null sender: got %v, want ErrNoSender", err)
	}
	p.To = addr(t, "postmaster@example.test")
	if r := parsed(t, build(t, p)); r.Header["to"] != "postmaster@example.test" {
		t.Errorf("double bounce to %q", r.Header["to"])
	}
	p = params(t, message)
	p.Rcpts = nil
	if _, err := bounce.Build(&bytes.Buffer{}, p); err == nil {
		t.Error("a report about nobody was made")
	}
}

type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestEveryWriteErrorIsReported(t *testing.T) {
	size := len(build(t, params(t, message)))
	for n := 0; n < size-1; n += 50 {
		if _, err := bounce.Build(&failing{n}, params(t, message)); err == nil {
			t.Errorf("writer failed after %d octets, Build did not", n)
		}
	}
}

func TestFieldsOfTheReport(t *testing.T) {
	p := params(t, message)
	p.Envelope.EnvID = "QQ+2B314"
	p.Rcpts[0].ORcpt = "rfc822;Bob@Orig.test"
	p.Rcpts = append(p.Rcpts, bounce.Rcpt{
		Recipient: mta.Recipient{Address: addr(t, "jörg@far.test")}, Action: bounce.Failed,
		Outcome: mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.4.7", Text: "too old; mx said: 450 greylisted"}, Expired: true, Last: "mx said: 450 greylisted",
	})
	r := parsed(t, build(t, p))
	for _, c := range []struct{ what, got, want string }{
		{"type", r.Type, "multipart/report"},
		{"report-type", r.ReportType, "delivery-status"},
		{"parts", strings.Join(r.Parts, " "), "text/plain message/delivery-status text/rfc822-headers"},
		{"from", r.Header["from"], "Mail Delivery System <MAILER-DAEMON@mx.example.test>"},
		{"to", r.Header["to"], "alice@example.test"},
		{"auto-submitted", r.Header["auto-submitted"], "auto-replied"},
		{"message-id", r.Header["message-id"], "<0123456789ABCDEFF0@mx.example.test>"},
		{"date", r.Header["date"], "Sun, 09 Sep 2001 01:46:40 +0000"},
		{"defects", r.Defects, ""},
		{"reporting-mta", r.Message["reporting-mta"], "dns; mx.example.test"},
		{"original-envelope-id", r.Message["original-envelope-id"], "QQ+314"},
		{"arrival-date", r.Message["arrival-date"], "Sun, 09 Sep 2001 01:30:00 +0000"},
		{"original-recipient", r.Recipients[0]["original-recipient"], "rfc822; Bob@Orig.test"},
		{"final-recipient", r.Recipients[0]["final-recipient"], "rfc822; bob@far.test"},
		{"action", r.Recipients[0]["action"], "failed"},
		{"status", r.Recipients[0]["status"], "5.1.1"},
		{"remote-mta", r.Recipients[0]["remote-mta"], "dns; mx.far.test"},
		{"diagnostic-code", r.Recipients[0]["diagnostic-code"], "smtp; 550 5.1.1 No such user"},
		{"utf-8 recipient", r.Recipients[1]["final-recipient"], `utf-8; j\x{F6}rg@far.test`},
		{"status of an expired one", r.Recipients[1]["status"], "5.4.7"},
		{"local words", r.Recipients[1]["diagnostic-code"], "x-posthouse; 550 5.4.7 too old; mx said: 450 greylisted"},
		{"subject", r.Header["subject"], "Not delivered: hello"},
		{"in-reply-to", r.Header["in-reply-to"], "<1@example.test>"},
		{"no answer", r.Header["x-auto-response-suppress"], "All"},
		{"header", r.Original, "From: alice@example.test\nSubject: hello\nMessage-ID: <1@example.test>\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	for _, s := range []string{"<bob@far.test>", "mx.far.test said: 550 5.1.1 No such user", "<jörg@far.test>", "The last reason was: mx said: 450 greylisted", "There is no mailbox of that name at far.test."} {
		if !strings.Contains(r.Text, s) {
			t.Errorf("the text lacks %q:\n%s", s, r.Text)
		}
	}
}

func TestWhatComesBackOfTheMessage(t *testing.T) {
	long := "X: " + strings.Repeat("y", 2000) + "\r\n"
	for _, c := range []struct {
		what, ret, text string
		last            string // type of the last part
		original        string
	}{
		{"empty", "FULL", "", "message/rfc822", ""},
		{"no header", "HDRS", "\r\nbody\r\n", "text/rfc822-headers", ""},
		{"no body", "HDRS", "A: b\r\n", "text/rfc822-headers", "A: b\n"},
		{"headers asked", "HDRS", message, "text/rfc822-headers", "From: alice@example.test\nSubject: hello\nMessage-ID: <1@example.test>\n"},
		{"full asked", "FULL", message, "message/rfc822", strings.ReplaceAll(message, "\r\n", "\n")},
		{"full, 8 bits", "FULL", "A: b\r\n\r\n\xfc\r\n", "message/rfc822", "A: b\n\n\ufffd\n"},
		{"full, 8 bits in the header", "FULL", "A: \xc3\xbc\r\n\r\nx\r\n", "text/rfc822-headers", "A: ü\n"},
		{"full, NUL", "FULL", "A: b\r\n\r\n\x00\r\n", "text/rfc822-headers", "A: b\n"},
		{"full, long line", "FULL", long + "\r\n", "text/rfc822-headers", strings.ReplaceAll(long, "\r\n", "\n")},
		{"full, large", "FULL", "A: b\r\n\r\n" + strings.Repeat("line\r\n", 100000), "text/rfc822-headers", "A: b\n"},
		{"8 bits in the header", "", "A: \xc3\xbc\r\n\r\n", "text/rfc822-headers", "A: ü\n"},
	} {
		p := params(t, c.text)
		p.Envelope.Ret = c.ret
		r := parsed(t, build(t, p))
		if got := r.Parts[len(r.Parts)-1]; got != c.last || strings.TrimRight(r.Original, "\n") != strings.TrimRight(c.original, "\n") {
			t.Errorf("%s: got %s %.200q, want %s %.200q", c.what, got, r.Original, c.last, c.original)
		}
	}
	p := params(t, message)
	p.Envelope.Ret, p.Rcpts[0].Action = "FULL", bounce.Delayed
	if r := parsed(t, build(t, p)); r.Parts[2] != "text/rfc822-headers" {
		t.Errorf("a report without a failure gives back %s", r.Parts[2])
	}
	p = params(t, strings.Repeat("Field: value\r\n", 100000))
	if n := len(build(t, p)); n > 100<<10 {
		t.Errorf("an endless header makes a report of %d octets", n)
	}
}

func TestReportToSenderBeyondASCIIHasTheTypesForIt(t *testing.T) {
	for _, c := range []struct {
		what, ret, text string
		last            string
	}{
		{"plain header", "", message, "text/rfc822-headers; charset=utf-8"},
		{"header", "", "Subject: über\r\n\r\nbody\r\n", "message/global-headers"},
		{"header that is not UTF-8", "", "Subject: \xfc\r\n\r\nbody\r\n", "text/rfc822-headers; charset=utf-8"},
		{"full", "FULL", "Subject: über\r\n\r\nbödy\r\n", "message/global"},
		{"full, plain header", "FULL", "Subject: x\r\n\r\nbödy\r\n", "message/rfc822"},
	} {
		p := params(t, c.text)
		p.Envelope.Sender, p.Envelope.Ret = addr(t, "jörg@example.test"), c.ret
		p.Rcpts[0].Address, p.Rcpts[0].ORcpt = addr(t, "größe@far.test"), `utf-8;gr\x{F6}\x{DF}e+@far.test`
		if !p.SMTPUTF8() {
			t.Error("SMTPUTF8() = false")
		}
		var b bytes.Buffer
		eightBit, err := bounce.Build(&b, p)
		if err != nil || !eightBit {
			t.Fatalf("%s: 8 bits %v, %v", c.what, eightBit, err)
		}
		checkWire(t, b.Bytes(), false)
		for _, want := range []string{
			"To: <jörg@example.test>\r\n", "\r\nContent-Type: message/global-delivery-status\r\n", "\r\nContent-Type: " + c.last + "\r\n",
			"\r\nOriginal-Recipient: utf-8; größe+@far.test\r\nFinal-Recipient: utf-8; größe@far.test\r\n", "<größe@far.test>",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: the report lacks %q:\n%s", c.what, want, b.Bytes())
			}
		}
	}
}

func TestEachActionHasItsWords(t *testing.T) {
	until := time.Unix(1000086400, 0).UTC()
	rcpt := func(to string, a bounce.Action, o mta.Outcome) bounce.Rcpt {
		return bounce.Rcpt{Recipient: mta.Recipient{Address: addr(t, to)}, Action: a, Outcome: o, Until: until}
	}
	busy := mta.Outcome{Code: 451, Enhanced: "4.7.1", Text: "greylisted", Host: "mx.far.test", At: until}
	gone := mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.1.1", Text: "No such user", Host: "mx.far.test", At: until}
	taken := mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "ok", Host: "mx.far.test", At: until}
	for _, c := range []struct {
		rcpt                   bounce.Rcpt
		subject, status, words string
		field                  string
	}{
		{rcpt("bob@far.test", bounce.Failed, gone), "Not delivered: hello", "5.1.1", "It will not be tried again. Please check the address, letter by letter, and send the message again", "last-attempt-date"},
		{rcpt("bob@far.test", bounce.Delayed, busy), "Delayed: hello", "4.7.1", "Your message \"hello\" of Sun, 9 Sep 2001 01:30 +0000 has not yet been delivered to <bob@far.test>, because the mail server of far.test refuses it by its rules. It is tried again and again until Mon, 10 Sep 2001 01:46 +0000: you need not send it again", "will-retry-until"},
		{rcpt("bob@far.test", bounce.Delayed, mta.Outcome{}), "Delayed: hello", "4.4.7", "has not yet been delivered to <bob@far.test>. It is tried", "will-retry-until"},
		{rcpt("bob@far.test", bounce.Relayed, taken), "Handed on: hello", "2.0.0", "was handed on for <bob@far.test> to another mail system, which does not report", "remote-mta"},
		{rcpt("bob@here.test", bounce.Delivered, mta.Outcome{Enhanced: "2.0.0", At: until}), "Delivered: hello", "2.0.0", "was delivered to <bob@here.test>. This report comes because you asked for it.", "last-attempt-date"},
		{rcpt("list@here.test", bounce.Expanded, mta.Outcome{}), "Sent to several: hello", "2.0.0", "was sent on to those for whom <list@here.test> stands", "final-recipient"},
	} {
		p := params(t, message)
		p.Rcpts = []bounce.Rcpt{c.rcpt}
		r := parsed(t, build(t, p))
		if got := r.Header["subject"]; got != c.subject {
			t.Errorf("%s: subject %q, want %q", c.rcpt.Action, got, c.subject)
		}
		if text := strings.Join(strings.Fields(r.Text), " "); !strings.Contains(text, c.words) {
			t.Errorf("%s: the text lacks %q:\n%s", c.rcpt.Action, c.words, r.Text)
		}
		f := r.Recipients[0]
		if f["action"] != string(c.rcpt.Action) || f["status"] != c.status || f[c.field] == "" {
			t.Errorf("%s: got %v, want status %s and %s", c.rcpt.Action, f, c.status, c.field)
		}
	}
}

func TestLinesOfTheTextAreFull(t *testing.T) {
	for n := range 50 {
		subject := strings.Repeat("s", n+1)
		paragraph := strings.SplitN(string(build(t, params(t, "Subject: "+subject+"\r\n\r\n"))), "\r\n\r\n", 4)[2]
		before := ""
		for line := range strings.SplitSeq(paragraph, "\r\n") {
			if len(line) > 76 {
				t.Errorf("a subject of %d characters: got the line %q", n+1, line)
			}
			if word, _, _ := strings.Cut(line, " "); before != "" && len(before)+1+len(word) <= 76 {
				t.Errorf("a subject of %d characters: %q has room for %q", n+1, before, word)
			}
			before = line
		}
		if !strings.Contains(paragraph, subject) {
			t.Errorf("%q has not the subject %q", paragraph, subject)
		}
	}
}

func TestLongWordsOfFields(t *testing.T) {
	p := params(t, message)
	p.Envelope.EnvID = strings.Repeat("x", 90)
	if b := build(t, p); !bytes.Contains(b, []byte("\r\nOriginal-Envelope-Id: "+p.Envelope.EnvID+"\r\n")) {
		t.Errorf("the word does not begin on the line of its field:\n%s", b)
	}
	// A line is cut between characters: those of é end in an odd octet, those of ä in an even one.
	p.Envelope.Sender = addr(t, "jörg@example.test")
	for _, letter := range []string{"é", "ä"} {
		for _, indent := range []string{"", "x"} {
			p.Rcpts[0].Outcome.Text = indent + strings.Repeat(letter, 600)
			p.Message = strings.NewReader(message)
			if b := build(t, p); !utf8.Valid(bytes.ReplaceAll(b, []byte("\r\n\t"), []byte("|"))) {
				t.Errorf("a character is cut in two:\n%q", b)
			}
		}
	}
}

func TestOneReportTellsOfAllKinds(t *testing.T) {
	p := params(t, message)
	p.Rcpts = append(p.Rcpts, bounce.Rcpt{Recipient: mta.Recipient{Address: addr(t, "carol@here.test")}, Action: bounce.Delivered})
	r := parsed(t, build(t, p))
	if len(r.Recipients) != 2 || r.Recipients[0]["action"] != "failed" || r.Recipients[1]["action"] != "delivered" || r.Header["subject"] != "Not delivered: hello" {
		t.Errorf("got %+v", r)
	}
}

func TestEveryReasonIsASentence(t *testing.T) {
	for _, subject := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"} {
		for detail := range 40 {
			p := params(t, message)
			p.Rcpts[0].Outcome.Enhanced = fmt.Sprintf("5.%s.%d", subject, detail)
			var b bytes.Buffer
			if _, err := bounce.Build(&b, p); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			first := strings.Join(strings.Fields(strings.SplitN(text, "\r\n\r\n", 4)[2]), " ")
			if strings.Contains(text, "%D") || !strings.Contains(first, ", because ") || !strings.HasSuffix(first, ". It will not be tried again.") {
				t.Errorf("%s: %s", p.Rcpts[0].Outcome.Enhanced, first)
			}
		}
	}
}

func TestSubjectsOfOthers(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Subject: =?utf-8?q?=C3=9Cber?=\r\n alles\r\n\r\n", "Not delivered: Über alles"},
		{"Subject: =?x-unknown?q?abc?=\r\n\r\n", "Not delivered"},
		{"Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=\r\n\r\n", "Not delivered"},
		{"Subject: \xff\r\n\r\n", "Not delivered"},
		{"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.test?=\r\n\r\n", "Not delivered: a??Bcc: x@y.test"},
		{"Subject:\r\n\r\n", "Not delivered"},
		{"Subject: " + strings.Repeat("ü", 100) + "\r\n\r\n", "Not delivered: " + strings.Repeat("ü", 59) + "…"},
	} {
		m, err := mail.ReadMessage(bytes.NewReader(build(t, params(t, c.in))))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || got != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, id := range []string{"<a b@x>", "a@x", "<>", "<a@x> <b@x>", "<" + strings.Repeat("a", 300) + ">", "<ü@x>"} {
		if got := build(t, params(t, "Message-ID: "+id+"\r\n\r\n")); bytes.Contains(got, []byte("In-Reply-To")) {
			t.Errorf("%s: got an In-Reply-To:\n%s", id, got)
		}
	}
}

type report struct {
	Type       string              `json:"type"`
	ReportType string              `json:"report_type"`
	Parts      []string            `json:"parts"`
	Header     map[string]string   `json:"header"`
	Defects    string              `json:"defects"`
	Message    map[string]string   `json:"message"`
	Recipients []map[string]string `json:"recipients"`
	Text       string              `json:"text"`
	Original   string              `json:"original"`
}

const parser = `
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default.clone(max_line_length=None))
parts = list(m.iter_parts())
low = lambda h: {k.lower(): " ".join(str(v).split()) for k, v in h.items()}
status = [low(g) for g in parts[1].get_payload()]
last = parts[2]
defects = [repr(d) for p in m.walk() for d in p.defects]
original = last.get_payload(0).as_bytes().decode("utf-8", "replace") if last.get_content_type() == "message/rfc822" else last.get_payload(decode=True).decode("utf-8", "replace")
json.dump({"type": m.get_content_type(), "report_type": m.get_param("report-type"), "parts": [p.get_content_type() for p in parts],
  "header": low(m), "defects": " ".join(defects), "message": status[0], "recipients": status[1:],
  "text": parts[0].get_content(), "original": original.replace("\r\n", "\n")}, sys.stdout)
`

// parsed reads a report with Python's email package, which owes nothing to us.
func parsed(t testing.TB, b []byte) report {
	t.Helper()
	cmd := exec.Command(mtatest.Need(t, "python3"), "-c", parser)
	cmd.Stdin = bytes.NewReader(b)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s\n%s", err, stderr.Bytes(), b)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// headerNames are the beginnings of the lines that a report's header may have.
var headerNames = []string{
	"Date: ", "From: ", "To: ", "Subject: ", "Message-ID: ", "In-Reply-To: ", "References: ", "Auto-Submitted: ", "X-Auto-Response-Suppress: ",
	"MIME-Version: ", "Content-Transfer-Encoding: ", "Content-Type: ", "\tboundary=",
}

func FuzzBuild(f *testing.F) {
	f.Add("550 no", "mx.far.test", "rfc822;x", "A: b\r\n\r\nbody", true)
	f.Add("a\r\nb", "\x00", "utf-8;+C3+BC", "A: b\n\n\r\r\n\xff", true)
	f.Add("", "", ";", "", false)
	f.Fuzz(func(t *testing.T, text, host, orcpt, msg string, full bool) {
		p := params(t, msg)
		p.Rcpts[0].Outcome.Text, p.Rcpts[0].Outcome.Host, p.Rcpts[0].ORcpt = text, host, orcpt
		if full {
			p.Envelope.Ret = "FULL"
		}
		b := build(t, p)
		head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		for line := range bytes.SplitSeq(head, []byte("\r\n")) {
			if !slices.ContainsFunc(headerNames, func(name string) bool { return bytes.HasPrefix(line, []byte(name)) }) {
				t.Errorf("a line of somebody else's in the header:\n%s", head)
			}
		}
	})
}
