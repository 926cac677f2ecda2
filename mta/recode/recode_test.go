package recode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/recode"
)

func TestMain(m *testing.M) { mtatest.VerifyTestMain(m) }

func source(s string) recode.Source {
	return message.NewReader("", nil, strings.NewReader(s), int64(len(s)))
}

// convert returns the new form, read twice, and what stands in its way.
func convert(t testing.TB, s string, n recode.Need) (string, error) {
	t.Helper()
	r, err := recode.New(source(s), n)
	if err != nil {
		return "", err
	}
	defer r.Close()
	_, _ = r.Read(make([]byte, 5))
	r.Reset()
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != r.Size() {
		t.Fatalf("%d octets, %v; Size says %d", len(b), err, r.Size())
	}
	return string(b), nil
}

func crlf(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n") }

var seven = recode.Need{SevenBit: true}

const mixed = `
From: =?utf-8?q?J=C3=B6rg?= <j@here.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b 1"
Content-Transfer-Encoding: 8bit

für niemanden
--b 1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße
 und ein Punkt.

--b 1
Content-Type: image/png
Content-Disposition: attachment; filename="Übersicht.png"
Content-Transfer-Encoding: binary

ü binär
--b 1
Content-Type: message/rfc822

Subject: innen
Content-Type: text/plain; charset=iso-8859-15

schön
--b 1
Content-Type: text/plain
Content-Transfer-Encoding: base64

R3LDvMOfZQ==
--b 1--
Ende: ü
`

func TestPartsAreEncodedAndReadTheSame(t *testing.T) {
	in := crlf(mixed)
	out, err := convert(t, in, seven)
	if err != nil {
		t.Fatal(err)
	}
	check7Bit(t, out)
	for _, want := range []string{
		"Content-Type: multipart/mixed; boundary=\"b 1\"\r\nContent-Transfer-Encoding: 7bit\r\n",
		"\r\n\r\nGr=C3=BC=C3=9Fe\r\n und ein Punkt.\r\n\r\n--b 1\r\n", "\r\n\r\nw7wgYmluw6Ry\r\n--b 1\r\n", "\r\n\r\nR3LDvMOfZQ==\r\n--b 1--\r\nEnde: ?\r\n",
		"Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.png\r\n", "Subject: innen\r\nContent-Type: text/plain; charset=iso-8859-15\r\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the new form lacks %q:\n%s", want, out)
		}
	}
	if got, want := parsed(t, out), parsed(t, in); got != want {
		t.Errorf("read by Python:\n got %s\nwant %s", got, want)
	}
}

func check7Bit(t testing.TB, s string) {
	t.Helper()
	if i := strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 }); i >= 0 {
		t.Fatalf("not in 7 bits at %d: %.60q", i, s[i:])
	}
}

const parser = `
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP)
print(json.dumps([[p.get_content_type(), p.get_filename(), None if p.is_multipart() else (p.get_payload(decode=True) or b"").decode("latin-1")] for p in m.walk()]))
`

// parsed shows the parts that Python's email package finds, decoded.
func parsed(t testing.TB, s string) string {
	t.Helper()
	cmd := exec.Command(mtatest.Need(t, "python3"), "-c", parser)
	cmd.Stdin = strings.NewReader(s)
	out, err := cmd.Output()
	if err != nil || !json.Valid(out) {
		t.Fatalf("python3: %v: %s", err, out)
	}
	return string(out)
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		what, in string
		need     recode.Need
		want     error
	}{
		{"signed", "Content-Type: multipart/signed; boundary=b\n\n--b\n\nü\n--b--\n", seven, recode.ErrSigned},
		{"signed, deeper", "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nü\n--c--\n--b--\n", seven, recode.ErrSigned},
		{"signed, header of a part", "Content-Type: multipart/signed; boundary=b\n\n--b\nX: ü\n\nx\n--b--\n", recode.Need{ASCII: true}, recode.ErrSigned},
		{"signed, between parts", "Content-Type: multipart/signed; boundary=b\n\nü\n--b\n\nx\n--b--\n", seven, recode.ErrSigned},
		{"encoded already", "Content-Transfer-Encoding: base64\n\nü\n", seven, recode.ErrForm},
		{"unknown encoding", "Content-Transfer-Encoding: x-uuencode\n\nü\n", seven, recode.ErrForm},
		{"multipart without a boundary", "Content-Type: multipart/mixed\n\nü\n", seven, recode.ErrForm},
		{"part of a message", "Content-Type: message/partial; id=x; number=1\n\nü\n", seven, recode.ErrForm},
		{"too deep", strings.Repeat("Content-Type: message/rfc822\n\n", 50) + "\nü\n", seven, recode.ErrForm},
		{"header without an end", strings.Repeat("X: y\n", 300000), seven, recode.ErrForm},
		{"address", "From: jörg@here.test\n\nx\n", recode.Need{ASCII: true}, recode.ErrAddress},
		{"no address", "To: Jörg <\n\nx\n", recode.Need{ASCII: true}, recode.ErrAddress},
	} {
		if out, err := convert(t, crlf(c.in), c.need); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v\n%.300s", c.what, err, c.want, out)
		}
	}
	broken := errors.New("disk failed")
	if _, err := recode.New(failing{broken}, seven); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (failing) Reset()                     {}

func TestFormsOfOneBody(t *testing.T) {
	long := strings.Repeat("long ", 300)
	for _, c := range []struct {
		what, in string
		need     recode.Need
		want     string
	}{
		{"nothing to do", "A: b\n\nx\n", seven, "A: b\n\nx\n"},
		{"empty", "", seven, ""},
		{"no MIME", "A: b\n\nü\n", seven, "A: b\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"},
		{"no MIME, not UTF-8", "A: b\n\n\xfc\n", seven, "A: b\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=FC\n"},
		{"not text", "MIME-Version: 1.0\nContent-Type: application/x; n=1\nContent-Transfer-Encoding: 8bit\n\nü\n", seven, "MIME-Version: 1.0\nContent-Type: application/x; n=1\nContent-Transfer-Encoding: base64\n\nw7wNCg==\n"},
		{"label alone", "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nx\n", seven, "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\nx\n"},
		{"long lines", "MIME-Version: 1.0\nContent-Type: text/html\n\n" + long + "\n", recode.Need{MaxLine: 998}, "MIME-Version: 1.0\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n*"},
		{"lines that are short enough", "A: b\n\n" + long[:998] + "\n", recode.Need{MaxLine: 998}, "A: b\n\n" + long[:998] + "\n"},
		{"long lines that are signed", "Content-Type: multipart/signed; boundary=b\n\n--b\n\n" + long + "\n--b--\n", recode.Need{MaxLine: 998}, "Content-Type: multipart/signed; boundary=b\n\n--b\n\n" + long + "\n--b--\n"},
		{"header, text", "Subject: über\n alles\n\nü\n", recode.Need{ASCII: true}, "Subject: =?utf-8?q?=C3=BCber_alles?=\n\nü\n"},
		{"header, addresses", "From: Jörg <j@bücher.test>, x@y.test\n\nx\n", recode.Need{ASCII: true}, "From: =?utf-8?q?J=C3=B6rg?= <j@xn--bcher-kva.test>,\n <x@y.test>\n\nx\n"},
		{"header, trace", "Received: from ü\n\tby x\n\nx\n", recode.Need{ASCII: true}, "Received: from ?\n\tby x\n\nx\n"},
		{"header that is not UTF-8", "Subject: \xfc\n\nx\n", seven, "Subject: =?unknown-8bit?q?=FC?=\n\nx\n"},
		{"header, signed part untouched", "Subject: ü\nContent-Type: multipart/signed; boundary=b\n\n--b\nX: y\n\nx\n--b--\n", seven, "Subject: =?utf-8?b?w7w=?=\nContent-Type: multipart/signed; boundary=b\n\n--b\nX: y\n\nx\n--b--\n"},
		{"boundary that begins like another", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\nü\n--bb--\n--b--\n", seven,
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--bb--\n--b--\n"},
		{"delimiter of an outer multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nü\n--b--\n", seven,
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--b--\n"},
	} {
		got, err := convert(t, crlf(c.in), c.need)
		got = strings.ReplaceAll(got, "\r\n", "\n")
		want, any := strings.CutSuffix(c.want, "*")
		if err != nil || got != want && !(any && strings.HasPrefix(got, want)) {
			t.Errorf("%s: %v\n got %q\nwant %q", c.what, err, got, c.want)
		}
	}
}

func TestLineThatIsLongerThanAnyBuffer(t *testing.T) {
	for _, n := range []int{32<<10 - 2, 32<<10 - 1, 32 << 10, 100 << 10} {
		in := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/x\r\n\r\n" + strings.Repeat("\xfc", n) + "\r\n--b--\r\n"
		out, err := convert(t, in, seven)
		if err != nil {
			t.Fatal(err)
		}
		check7Bit(t, out)
		if parsed(t, in) != parsed(t, out) {
			t.Errorf("%d octets: it reads in another way", n)
		}
	}
}

// FuzzRecode: whatever it is, it does not panic, and what comes out is what was asked for.
func FuzzRecode(f *testing.F) {
	f.Add(crlf(mixed), 78)
	f.Add("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", 0)
	f.Add("A: \xff\r\n\r\n\xff", 10)
	f.Add("From: a@\xc3\xbc\r\nContent-Type: message/rfc822\r\n\r\nB: c\r\n\r\n\xff\r\n", 998)
	f.Fuzz(func(t *testing.T, in string, line int) {
		out, err := convert(t, in, recode.Need{SevenBit: true, MaxLine: line})
		if err != nil {
			return
		}
		check7Bit(t, out)
		again, err := convert(t, out, seven)
		if err != nil || again != out {
			t.Errorf("not stable: %v\n%q\n%q", err, out, again)
		}
		if b := []byte(in); !bytes.ContainsFunc(b, func(c rune) bool { return c >= 0x80 }) && line <= 0 && !strings.Contains(strings.ToLower(in), "transfer-encoding") && out != in {
			t.Errorf("changed without need:\n%q\n%q", in, out)
		}
	})
}
