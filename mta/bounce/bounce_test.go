package bounce_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/bounce"
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
		Failures: []bounce.Failure{{
			Rcpt: mta.Recipient{Address: addr(t, "bob@far.test")},
			Outcome: mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.1.1", Text: "No such user", Host: "mx.far.test",
				Addr: "192.0.2.1:25", At: time.Unix(999999500, 0).UTC(), Cause: errors.New("secret local detail")},
		}},
		Message: strings.NewReader(text), Size: int64(len(text)),
	}
}

func build(t testing.TB, p bounce.Params) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bounce.Build(&b, p); err != nil {
		t.Fatal(err)
	}
	checkWire(t, b.Bytes(), !p.SMTPUTF8())
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
	o := &p.Failures[0].Outcome
	o.Text = "gone\r\nBcc: evil@far.test\n\n--boundary\n" + strings.Repeat("x", 3000) + " \x00\x1b[2J über"
	o.Host = "evil\r\nX-Evil: 1"
	p.Failures[0].Rcpt.ORcpt = "rfc822;x+0D+0AAction:+20delivered"
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
	if err := bounce.Build(&bytes.Buffer{}, p); !errors.Is(err, bounce.ErrNoSender) {
		t.Errorf("null sender: got %v, want ErrNoSender", err)
	}
	p.To = addr(t, "postmaster@example.test")
	if r := parsed(t, build(t, p)); r.Header["to"] != "postmaster@example.test" {
		t.Errorf("double bounce to %q", r.Header["to"])
	}
	p = params(t, message)
	p.Failures = nil
	if err := bounce.Build(&bytes.Buffer{}, p); err == nil {
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
		if err := bounce.Build(&failing{n}, params(t, message)); err == nil {
			t.Errorf("writer failed after %d octets, Build did not", n)
		}
	}
}

func TestFieldsOfTheReport(t *testing.T) {
	p := params(t, message)
	p.Envelope.EnvID = "QQ+2B314"
	p.Failures[0].Rcpt.ORcpt = "rfc822;Bob@Orig.test"
	p.Failures = append(p.Failures, bounce.Failure{
		Rcpt:    mta.Recipient{Address: addr(t, "jörg@far.test")},
		Outcome: mta.Outcome{Status: mta.Failed, Code: 450, Text: "greylisted"}, Expired: true,
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
		{"status of an expired one", r.Recipients[1]["status"], "4.0.0"},
		{"local words", r.Recipients[1]["diagnostic-code"], "x-posthouse; 450 greylisted"},
		{"header", r.Original, "From: alice@example.test\nSubject: hello\nMessage-ID: <1@example.test>\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	for _, s := range []string{"<bob@far.test>", "mx.far.test said: 550 5.1.1 No such user", "<jörg@far.test>", "until the message was too old"} {
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
		{"full, 8 bits", "FULL", "A: b\r\n\r\n\xfc\r\n", "text/rfc822-headers", "A: b\n"},
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
	p := params(t, strings.Repeat("Field: value\r\n", 100000))
	if n := len(build(t, p)); n > 100<<10 {
		t.Errorf("an endless header makes a report of %d octets", n)
	}
}

func TestReportToSenderBeyondASCIINeedsSMTPUTF8(t *testing.T) {
	p := params(t, message)
	p.Envelope.Sender = addr(t, "jörg@example.test")
	if !p.SMTPUTF8() {
		t.Error("SMTPUTF8() = false")
	}
	build(t, p)
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
original = last.get_payload(0).as_bytes().decode() if last.get_content_type() == "message/rfc822" else last.get_payload(decode=True).decode()
json.dump({"type": m.get_content_type(), "report_type": m.get_param("report-type"), "parts": [p.get_content_type() for p in parts],
  "header": low(m), "defects": " ".join(defects), "message": status[0], "recipients": status[1:],
  "text": parts[0].get_content(), "original": original.replace("\r\n", "\n")}, sys.stdout)
`

// parsed reads a report with Python's email package, which owes nothing to us.
func parsed(t testing.TB, b []byte) report {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is needed here")
		}
		t.Skip("no python3")
	}
	cmd := exec.Command(python, "-c", parser)
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

func FuzzBuild(f *testing.F) {
	f.Add("550 no", "mx.far.test", "rfc822;x", "A: b\r\n\r\nbody", true)
	f.Add("a\r\nb", "\x00", "utf-8;+C3+BC", "A: b\n\n\r\r\n\xff", true)
	f.Add("", "", ";", "", false)
	f.Fuzz(func(t *testing.T, text, host, orcpt, msg string, full bool) {
		p := params(t, msg)
		p.Failures[0].Outcome.Text, p.Failures[0].Outcome.Host, p.Failures[0].Rcpt.ORcpt = text, host, orcpt
		if full {
			p.Envelope.Ret = "FULL"
		}
		b := build(t, p)
		head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		if n := bytes.Count(head, []byte("\r\n")); n != 8 {
			t.Errorf("header of %d lines, want 9:\n%s", n+1, head)
		}
	})
}
