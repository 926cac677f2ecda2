package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
)

const text = "Return-Path: <a@x.test>\nDelivered-To: bob@host.test\nSubject: x\n\nHello\n"

func delivery() asuser.Delivery {
	return asuser.Delivery{
		ID: "0A00000000000AAA", Index: 1, Host: "host.test", Sender: mta.Address{Local: "a", Domain: "x.test"},
		Recipient: mta.Address{Local: "bob+lists", Domain: "host.test"}, Extension: "lists", Mailbox: "~/Maildir",
	}
}

func letterOf(t *testing.T, s string) *letter {
	t.Helper()
	m, err := readLetter(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// found lists the messages below a folder.
func found(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestIntoTheMailboxOnce(t *testing.T) {
	p := home(t)
	d := delivery()
	for i := range 3 {
		o, targets := p.deliver(t.Context(), d, letterOf(t, text))
		if o.Status != mta.Delivered || targets != nil {
			t.Fatalf("%d: got %+v, %v", i, o, targets)
		}
		d.Look = true
	}
	// It is there once, even when a ~/.forward has come since.
	p.write(t, ".forward", "carol@x.test\n")
	if o, targets := p.deliver(t.Context(), d, letterOf(t, text)); o.Status != mta.Delivered || targets != nil {
		t.Errorf("got %+v, %v; want it found in the mailbox", o, targets)
	}
	list := found(t, p.home+"/Maildir")
	if len(list) != 1 {
		t.Fatalf("got %q, want one message", list)
	}
	b, err := os.ReadFile(list[0])
	if err != nil || string(b) != text {
		t.Errorf("got %q, %v; want %q", b, err, text)
	}
}

func TestALongMessageIsDeliveredWhole(t *testing.T) {
	p := home(t)
	long := text + strings.Repeat("0123456789abcde\r\n", 100_000)
	if o, _ := p.deliver(t.Context(), delivery(), letterOf(t, long)); o.Status != mta.Delivered {
		t.Fatalf("got %+v", o)
	}
	list := found(t, p.home+"/Maildir")
	b, err := os.ReadFile(list[0])
	if err != nil || string(b) != long {
		t.Errorf("got %d octets, %v; want %d as they came", len(b), err, len(long))
	}
}

func TestWhatForwardWantsIsToldAndNotDone(t *testing.T) {
	p := home(t)
	p.write(t, ".forward", "carol@x.test, \\bob, |/bin/false\n")
	o, targets := p.deliver(t.Context(), delivery(), letterOf(t, text))
	if want := "address carol@x.test; mailbox; program /bin/false"; o.Status == mta.Delivered || show(targets) != want {
		t.Errorf("got %+v, %q; want %q", o, show(targets), want)
	}
	if list := found(t, p.home+"/Maildir"); len(list) > 0 {
		t.Errorf("got %q delivered", list)
	}
	d := delivery()
	d.Target = targets[1]
	if o, targets := p.deliver(t.Context(), d, letterOf(t, text)); o.Status != mta.Delivered || targets != nil {
		t.Errorf("\\bob: got %+v, %v", o, targets)
	}
	p.write(t, ".forward", "\\bob\n")
	d.Target, d.Index = asuser.Target{}, 2
	if o, targets := p.deliver(t.Context(), d, letterOf(t, text)); o.Status != mta.Delivered || targets != nil {
		t.Errorf("\\bob alone: got %+v, %v", o, targets)
	}
}

func TestHomesThatAreNotInOrder(t *testing.T) {
	for name, mode := range map[string]os.FileMode{"writable by all": 0o777, "writable by all, sticky": 0o777 | os.ModeSticky} {
		p := home(t)
		if err := os.Chmod(p.home, mode); err != nil {
			t.Fatal(err)
		}
		o, _ := p.deliver(t.Context(), delivery(), letterOf(t, text))
		if o.Status != mta.Deferred || o.Enhanced != "4.3.5" || !strings.Contains(o.Cause.Error(), "writable by everybody") || strings.Contains(o.Text, p.home) {
			t.Errorf("%s: got %+v, want it deferred", name, o)
		}
	}
	p := home(t)
	p.home += "/nowhere"
	if o, _ := p.deliver(t.Context(), delivery(), letterOf(t, text)); o.Status != mta.Deferred || o.Enhanced != "4.3.5" {
		t.Errorf("no home: got %+v, want it deferred", o)
	}
}

func TestProgramsAndHowTheyEnd(t *testing.T) {
	p := home(t)
	d := delivery()
	for _, c := range []struct {
		command string
		status  mta.Status
		code    string
		cause   string
	}{
		{"/bin/sh -c 'exit 0'", mta.Delivered, "2.0.0", ""},
		{"/bin/sh -c 'echo no room; exit 75'", mta.Deferred, "4.3.0", "exit status 75; it says: no room"},
		{"/bin/sh -c 'exit 1'", mta.Deferred, "4.3.0", "exit status 1"},
		{"/bin/sh -c 'exit 67'", mta.Failed, "5.1.1", "exit status 67"},
		{"/bin/sh -c 'exit 77'", mta.Failed, "5.7.0", "exit status 77"},
		{"/bin/sh -c 'exit 65'", mta.Failed, "5.6.0", "exit status 65"},
		{"/bin/sh -c 'exit 111'", mta.Deferred, "4.3.0", "exit status 111"},
		{"/bin/sh -c 'kill -9 $$'", mta.Deferred, "4.3.0", "signal: killed"},
		{"/nowhere/at/all", mta.Deferred, "4.3.0", "no such file"},
		{"/bin/sh -c 'head -c 100000000 /dev/zero; exit 77'", mta.Failed, "5.7.0", "octets more"},
		{"/bin/sh -c 'sleep 1000 & exit 0'", mta.Delivered, "2.0.0", ""}, // and what it leaves does not keep us
		{`/bin/sh -c 'test "$(cat)" = "$1" && test "$EXTENSION $SENDER $RECIPIENT $PWD" = "lists a@x.test bob+lists@host.test $2"' sh "` +
			strings.TrimSpace(text) + `" "` + p.home + `"`, mta.Delivered, "2.0.0", ""},
	} {
		d.Target = asuser.Target{Kind: asuser.ToProgram, Value: c.command}
		o, _ := p.deliver(t.Context(), d, letterOf(t, text))
		cause := ""
		if o.Cause != nil {
			cause = o.Cause.Error()
		}
		if o.Status != c.status || o.Enhanced != c.code || !strings.Contains(cause, c.cause) || (cause == "") != (c.cause == "") || len(cause) > 800 {
			t.Errorf("%s: got %+v, %.300s; want %v %s, %q", c.command, o, cause, c.status, c.code, c.cause)
		}
	}
}

// TestWhatStrangersChooseIsHarmlessInAShell has values that a script without quotation marks would run, split or take for an option.
func TestWhatStrangersChooseIsHarmlessInAShell(t *testing.T) {
	for _, c := range []struct{ sender, extension, wantSender, wantExtension string }{
		{`"a\nb"@x.test`, "x\ny", "anb@x.test", "x_y"}, // no address has a line end in it, and the \n of a quoted one is an n
		{"-fevil@x.test", "-rf", "_fevil@x.test", "_rf"},
		{"`id`@x.test", "$(id)", "_id_@x.test", "__id_"},
		{`"a b"@x.test`, "a b\tc", "_a_b_@x.test", "a_b_c"}, // an argument more
		{`"x;id&id|id>f<f"@x.test`, "a;b", "_x_id_id_id_f_f_@x.test", "a_b"},
		{"o'brien*?{a}~#!@x.test", `"\[a]`, "o_brien___a____@x.test", "___a_"},
		{"a@[127.0.0.1]", "../../etc/passwd", "a@_127.0.0.1_", "_._.._etc_passwd"},
		{"", ".", "", "_"},
		// What real ones have stays as it is.
		{"SRS0=4+y/=TT=x.test=bob@a.test", "return-12-bob=x.test", "SRS0=4+y/=TT=x.test=bob@a.test", "return-12-bob=x.test"},
		{"prvs=0123=a%b@x.test", "2026.lists_a", "prvs=0123=a%b@x.test", "2026.lists_a"},
		{"jürgen@bücher.test", "प्रेम", "jürgen@bücher.test", "प्रेम"},
	} {
		d := delivery()
		d.Extension, d.Sender, d.Recipient.Local = c.extension, mta.Address{}, c.extension
		if c.sender != "" {
			var err error
			if d.Sender, err = mta.ParseAddress(c.sender); err != nil {
				t.Fatal(err)
			}
		}
		env := environment(d)
		for _, want := range []string{"SENDER=" + c.wantSender, "EXTENSION=" + c.wantExtension, "LOCAL=" + c.wantExtension} {
			if !slices.Contains(env, want) {
				t.Errorf("%q, %q: got %q, want %q in it", c.sender, c.extension, env, want)
			}
		}
	}
}

func TestAProgramThatHangsIsEnded(t *testing.T) {
	argv := []string{"/bin/sh", "-c", "trap '' TERM INT HUP; sleep 1000 & sleep 1000"}
	o := runProgram(t.Context(), argv, nil, "/", 50*time.Millisecond, strings.NewReader(text))
	if o.Status != mta.Deferred || !strings.Contains(o.Cause.Error(), "killed after 50ms") {
		t.Errorf("got %+v", o)
	}
}

func TestOnce(t *testing.T) {
	d := delivery()
	d.Size = int64(len("Hello\n"))
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	o := options{program: true, args: []string{"/bin/sh", "-c", `test "$X" = y && test "$(cat)" = Hello`}, env: []string{"X=y"}, limit: time.Minute}
	if got, _ := once(o, strings.NewReader(string(b)+"\nHello\n")); got.Status != mta.Delivered {
		t.Errorf("got %+v, %v", got, got.Cause)
	}
	for name, in := range map[string]string{"nothing": "", "no JSON": "x\n", "no end": string(b), "a message cut short": string(b) + "\nHell", "one longer than it was": string(b) + "\nHello\n\n", "a long line": strings.Repeat("x", maxHead+1) + "\n"} {
		if got, _ := once(o, strings.NewReader(in)); got.Status != mta.Deferred || got.Text != "the delivery was broken off" {
			t.Errorf("%s: got %+v, want it deferred", name, got)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{}, {"--pipe", "-n"}, {"--pipe", "x"}, {"--program"}, {"-n", "a", "b"}, {"--shell"}} {
		if status := run(args); status != 64 {
			t.Errorf("%q: got %d, want 64", args, status)
		}
	}
}
