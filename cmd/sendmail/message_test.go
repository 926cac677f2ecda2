package main

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posthouse-mail/posthouse/mta"
)

func collected(t *testing.T, in io.Reader, dots bool, limit int64) (*store, error) {
	t.Helper()
	s := &store{limit: limit}
	t.Cleanup(s.close)
	return s, (&collector{s: s, dots: dots}).collect(in)
}

func text(t *testing.T, s *store) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s, 0, s.size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLinesOfAnyEnding(t *testing.T) {
	for _, c := range []struct {
		in, want string
		dots     bool
	}{
		{"", "", false},
		{"a", "a\r\n", false},
		{"a\nb\r\nc\rd\n", "a\r\nb\r\nc\r\nd\r\n", false},
		{"\r\r\n\n\r", "\r\n\r\n\r\n\r\n", false},
		{"a\x00b\n", "ab\r\n", false},
		{"a\n.\nb\n", "a\r\n", false},
		{"a\n.\nb\n", "a\r\n.\r\nb\r\n", true},
		{"a\r\n.\r\nb", "a\r\n", false},
		{"a\n.", "a\r\n", false},
		{"a\n..\n.b\n .\n. \nc", "a\r\n..\r\n.b\r\n .\r\n. \r\nc\r\n", false},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			s, err := collected(t, r, c.dots, 1<<20)
			if got := text(t, s); err != nil || got != c.want {
				t.Errorf("%q, dots %v: got %q, %v; want %q", c.in, c.dots, got, err, c.want)
			}
		}
	}
}

// TestLongLinesOfTheBodyGoOn: a line that smtpd would refuse is broken, and no character in it.
func TestLongLinesOfTheBodyGoOn(t *testing.T) {
	const limit = 32
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct{ in, want string }{
		{"X: " + a(90) + "\n", "X: " + a(90) + "\r\n"}, // not in the header
		{"\n" + a(24) + "\n", "\r\n" + a(24) + "\r\n"},
		{"\n" + a(25) + "\n", "\r\n" + a(24) + "\r\na\r\n"},
		{"\n" + a(24) + ".\n" + a(3), "\r\n" + a(24) + "\r\n.\r\naaa\r\n"}, // which ends no message
		{"\n." + a(60), "\r\n." + a(23) + "\r\n" + a(24) + "\r\n" + a(13) + "\r\n"},
		{"\n" + a(23) + "€€\n", "\r\n" + a(23) + "€\r\n€\r\n"},
		{"\n" + a(20) + strings.Repeat("\x80", 12), "\r\n" + a(20) + strings.Repeat("\x80", 9) + "\r\n" + strings.Repeat("\x80", 3) + "\r\n"},
	} {
		s := &store{limit: 1 << 20}
		if err := (&collector{s: s, max: limit}).collect(strings.NewReader(c.in)); err != nil || text(t, s) != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.in, text(t, s), err, c.want)
		}
	}
}

// TestMessageWithoutAPlaceForFiles: a confined service has none, nor has who runs with a TMPDIR of somebody else's.
func TestMessageWithoutAPlaceForFiles(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	want := strings.Repeat("0123456789abc\r\n", inMemory/10)
	if s, err := collected(t, strings.NewReader(want), true, 1<<20); err != nil || text(t, s) != want {
		t.Errorf("got %v, want the message kept", err)
	}
}

// zeros is /dev/zero, for a while.
type zeros struct{ n int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n++; z.n > 1000 {
		return 0, errors.New("it reads without an end")
	}
	clear(p)
	return len(p), nil
}

func TestMessageBeyondMemory(t *testing.T) {
	want := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 3*inMemory/100)
	s, err := collected(t, strings.NewReader(want), true, 10<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, s); got != want || len(s.mem) > inMemory {
		t.Errorf("got %d octets, %d of them in memory; want %d and %d at most", len(got), len(s.mem), len(want), inMemory)
	}
	_, err = collected(t, strings.NewReader(want), true, 1000)
	var e *exitError
	if !errors.As(err, &e) || e.status != exitDataErr {
		t.Errorf("beyond the limit: got %v, want status %d", err, exitDataErr)
	}
	if _, err := collected(t, &zeros{}, true, 1000); !errors.As(err, &e) || e.status != exitDataErr {
		t.Errorf("octets without an end, of which none is kept: got %v, want status %d", err, exitDataErr)
	}
	broken := errors.New("broken")
	if _, err = collected(t, iotest.ErrReader(broken), true, 1000); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestHeaders(t *testing.T) {
	author := mta.Address{Local: "jim", Domain: "here.test"}
	for _, c := range []struct{ name, in, want, rcpts string }{
		{"no header", "hello\n", "From: \"Jim\" <jim@here.test>\r\n\r\nhello\r\n", ""},
		{"nothing", "", "From: \"Jim\" <jim@here.test>\r\n\r\n", ""},
		{"no body", "Subject: x\n", "From: \"Jim\" <jim@here.test>\r\nSubject: x\r\n\r\n", ""},
		{"no empty line", "Subject: x\nhello: you\nand you\n", "From: \"Jim\" <jim@here.test>\r\nSubject: x\r\nhello: you\r\n\r\nand you\r\n", ""},
		{"an mbox", "From jim Mon Jan  1\nFrom: a@b.test\n\nx\n", "From: a@b.test\r\n\r\nx\r\n", ""},
		{"cron", "From: root (Cron Daemon)\nTo: root\n\nx\n", "From: root@here.test (Cron Daemon)\r\nTo: root@here.test\r\n\r\nx\r\n", "root"},
		{"a group, folded", "From: a@b.test\nTo: Team: a,\n\t(c) b@c.test;\nCc:\n d\nBcc: e\nX-To: f\n\n", "From: a@b.test\r\nTo: Team: a@here.test,\r\n\t(c) b@c.test;\r\nCc:\r\n d@here.test\r\nBcc: e@here.test\r\nX-To: f\r\n\r\n", "a b@c.test d e"},
		{"sent again", "Resent-From: a@b.test\nResent-To: n@b.test\nResent-From: o@b.test\nResent-To: p@b.test\nFrom: x@b.test\nTo: q@b.test\n\n", "Resent-From: a@b.test\r\nResent-To: n@b.test\r\nResent-From: o@b.test\r\nResent-To: p@b.test\r\nFrom: x@b.test\r\nTo: q@b.test\r\n\r\n", "n@b.test"},
		{"no list", "From: a@b.test\nTo: x y\n\n", "From: a@b.test\r\nTo: x y\r\n\r\n", "!"},
	} {
		s, err := collected(t, strings.NewReader(c.in), true, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		h, err := readHeader(s)
		if err != nil {
			t.Fatal(err)
		}
		got := h.render("here.test", "Jim", author, "") + text(t, s)[h.body:]
		rcpts := "!"
		if list, err := h.recipients(); err == nil {
			rcpts = strings.Join(list, " ")
		}
		if got != c.want || rcpts != c.rcpts {
			t.Errorf("%s:\n got %q for %q\nwant %q for %q", c.name, got, rcpts, c.want, c.rcpts)
		}
	}
	s, err := collected(t, io.MultiReader(strings.NewReader("X: "), bytes.NewReader(bytes.Repeat([]byte("x"), maxHeader)), strings.NewReader("\n\nbody\n")), true, 10<<20)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := readHeader(s); err != nil || !h.long || h.body != 0 || h.render("here.test", "Jim", author, "") != "" {
		t.Errorf("a long header: got %+v, %v, want it as it is", h, err)
	}
}

func TestCommandLines(t *testing.T) {
	mine := "me"
	for _, c := range []struct {
		name, line string
		want       options
		status     int
	}{
		// what is refused
		{"sendmail", "-bd", options{}, exitUsage},
		{"sendmail", "-bd -q15m", options{}, exitUsage},
		{"sendmail", "-q15m", options{}, exitUsage},
		{"sendmail", "-qfast", options{}, exitUsage},
		{"sendmail", "-qR", options{}, exitUsage},
		{"sendmail", "-bz", options{}, exitUsage},
		{"sendmail", "-Z", options{}, exitUsage},
		{"sendmail", "-f", options{}, exitUsage},
		{"sendmail", "-oA/tmp/a", options{}, exitUsage},
		{"sendmail", "-OQueueDirectory=/tmp", options{}, exitUsage},
		{"sendmail", "-X/tmp/log", options{}, exitUsage},
		{"sendmail", "-N often", options{}, exitUsage},
		{"sendmail", "-N never,success", options{}, exitUsage},
		{"sendmail", "-R some", options{}, exitUsage},
		{"sendmail", "-V " + strings.Repeat("x", 101), options{}, exitUsage},
		// how programs call
		{"sendmail", "-FCronDaemon -i -odi -oem -oi -t -f me", options{name: "CronDaemon", dots: true, extract: true, from: &mine}, 0},
		{"sendmail", "-oem -oi -fme -- -x y", options{dots: true, from: &mine, args: []string{"-x", "y"}}, 0},
		{"sendmail", "-ti", options{extract: true, dots: true}, 0},
		{"sendmail", "-t -i -rme", options{extract: true, dots: true, from: &mine}, 0},
		{"sendmail", "-bm x -v y", options{verbose: true, args: []string{"x", "y"}}, 0},
		{"sendmail", "-bs", options{mode: modeSMTP}, 0},
		{"sendmail", "-bp", options{mode: modeQueue}, 0},
		{"sendmail", "-bi", options{mode: modeAliases}, 0},
		{"sendmail", "-I", options{mode: modeAliases}, 0},
		{"sendmail", "-q", options{mode: modeFlush}, 0},
		{"sendmail", "-qf", options{mode: modeFlush}, 0},
		{"sendmail", "-qRhere.test", options{mode: modeFlush, flush: "Rhere.test"}, 0},
		{"sendmail", "-bv x", options{mode: modeVerify, args: []string{"x"}}, 0},
		{"sendmail", "-oMr amavis -oMs host -oi x", options{dots: true, args: []string{"x"}}, 0}, // as Exim has it
		{"sendmail", "-oMramavis x -oMr", options{args: []string{"x"}}, 0},
		{"mailq", "", options{mode: modeQueue}, 0},
		{"newaliases", "-v", options{mode: modeAliases, verbose: true}, 0},
		{"sendmail", "-N failure,Success -R hdrs -V a+b x", options{notify: "SUCCESS,FAILURE", ret: "HDRS", envID: "a+2Bb", args: []string{"x"}}, 0},
		{"sendmail", "-B 8BITMIME -h 3 -L tag -m -n -G -U -em -d0.1 -O DeliveryMode=b -OIgnoreDots=true x", options{dots: true, args: []string{"x"}}, 0},
	} {
		got, err := parseOptions(c.name, strings.Fields(c.line))
		var e *exitError
		if c.status != 0 {
			if !errors.As(err, &e) || e.status != c.status {
				t.Errorf("%s %s: got %v, want status %d", c.name, c.line, err, c.status)
			}
			continue
		}
		if err != nil || !same(got, c.want) {
			t.Errorf("%s %s: got %+v, %v; want %+v", c.name, c.line, got, err, c.want)
		}
	}
}

func same(a, b options) bool {
	from := func(o *options) string {
		if o.from == nil {
			return "none"
		}
		s := *o.from
		o.from = nil
		return "is " + s
	}
	if from(&a) != from(&b) || strings.Join(a.args, "|") != strings.Join(b.args, "|") {
		return false
	}
	return a.mode == b.mode && a.flush == b.flush && a.config == b.config && a.extract == b.extract && a.dots == b.dots && a.verbose == b.verbose &&
		a.name == b.name && a.notify == b.notify && a.ret == b.ret && a.envID == b.envID
}

func TestRefusalsHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		stage, reply string
		code, want   int
	}{
		{"RCPT", "4.5.3", 452, exitDataErr},
		{"MAIL", "4.3.1", 452, exitTempFail},
		{"RCPT", "", 450, exitTempFail},
		{"MAIL", "5.7.1", 550, exitNoPerm},
		{"RCPT", "5.1.1", 550, exitNoUser},
		{"RCPT", "5.1.2", 550, exitNoHost},
		{"end of data", "5.3.4", 552, exitDataErr},
		{"end of data", "5.6.0", 550, exitDataErr},
		{"end of data", "5.7.1", 550, exitNoPerm},
		{"DATA", "", 554, exitUnavailable},
	} {
		if got := status(c.stage, mta.Reply{Code: c.code, Enhanced: c.reply}); got != c.want {
			t.Errorf("%s %d %s: got %d, want %d", c.stage, c.code, c.reply, got, c.want)
		}
	}
}

// The name comes from a command line that a web page may have made.
func TestNamesHaveNoLines(t *testing.T) {
	got := (&header{}).render("here.test", "Jim\r\nBcc: x@far.test", mta.Address{Local: "jim", Domain: "here.test"}, "")
	if want := "From: \"Jim  Bcc: x@far.test\" <jim@here.test>\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
