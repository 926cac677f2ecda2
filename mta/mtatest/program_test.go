package mtatest

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProgramsAreStartedReadAndEnded(t *testing.T) {
	p := Start(t, "/bin/sh", "-c", `trap 'echo stopped >&2; exit 0' TERM; trap 'echo reloaded >&2' HUP
echo one=1 >&2; echo two=2 >&2; echo one=3 >&2; echo ready >&2; while :; do sleep 0.01; done`)
	p.Await(t, "ready")
	mark := p.Mark()
	if m := p.Await(t, `one=(\d)`); m[1] != "1" {
		t.Errorf("Await: got %q, want the first line", m)
	}
	for _, want := range []string{"1", "3"} {
		if m := p.Next(t, `one=(\d)`); m[1] != want {
			t.Errorf("Next: got %q, want %s", m, want)
		}
	}
	if n := p.Count(`one=`); n != 2 {
		t.Errorf("Count: got %d, want 2", n)
	}
	if _, err := p.Search(mark, "one=", time.Millisecond); err == nil || !strings.Contains(err.Error(), "no one= in the log") {
		t.Errorf("Search behind the last line: got %v, want none", err)
	}
	p.Signal(t, syscall.SIGHUP)
	p.AwaitFrom(t, mark, "reloaded")
	if !p.Running() {
		t.Error("Running: got no")
	}
	p.Terminate(t)
	if got := strings.Join(p.Log(), " "); got != "one=1 two=2 one=3 ready reloaded stopped" {
		t.Errorf("Log: got %q", got)
	}
	if p.Running() {
		t.Error("Running: got yes after the end")
	}
}

func TestAnEndIsToldFromAHang(t *testing.T) {
	p := Start(t, "/bin/sh", "-c", "echo last >&2; exit 78")
	if _, err := p.Search(0, "ready", Patience); err == nil || !strings.Contains(err.Error(), "has ended (exit status 78) without ready") {
		t.Errorf("got %v, want the end", err)
	}
	if status := p.Status(t); status != 78 {
		t.Errorf("got status %d, want 78", status)
	}
	if m := p.Await(t, "last"); m[0] != "last" {
		t.Errorf("got %q, want the last words", m)
	}
	p = Start(t, "/bin/sleep", "1000")
	p.Kill()
	if status := p.Status(t); status != -1 {
		t.Errorf("killed: got status %d, want -1", status)
	}
}

func TestASessionReadsEachReplyToItsEnd(t *testing.T) {
	ln := listen(t, "220 mx\r\n", "250-mx\r\n250 SIZE\r\n", "250 ok\r\n354-go\r\n354 on\r\n", "550 no\r\n")
	s := Dial(t, nil, ln, nil)
	defer s.Close()
	if err := s.Say("MAIL\r\nDATA\r\n", "250", "354"); err != nil {
		t.Error(err)
	}
	if err := s.Say("x\r\n", "250"); err == nil || !strings.Contains(err.Error(), `got "550 no\r\n"`) {
		t.Errorf("got %v, want the refusal", err)
	}
	if err := s.Say("x\r\n", "250"); err == nil {
		t.Error("behind the end: got no error")
	}
}

// listen takes one connection, says the first text, and each other one when something has come. It returns the address.
func listen(t *testing.T, texts ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 1000)
		for i, text := range texts {
			if i > 0 {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}()
	return ln.Addr().String()
}
