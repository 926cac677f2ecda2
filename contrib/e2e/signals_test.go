package e2e_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestReloadObeysAGoodFileAndRefusesABadOne(t *testing.T) {
	t.Parallel()
	i := start(t, options{more: "[smtpd]\nmax_message_size = \"50MB\"\n"})
	all := []*mtatest.Program{i.smtpd, i.queue, i.pop3d}
	size := func(want string) {
		t.Helper()
		c, err := dialSMTP(i.mx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if got, err := c.cmd("250", "EHLO client.test"); err != nil || !strings.Contains(got, "250-SIZE "+want+"\n") {
			t.Errorf("got %q, %v; want SIZE %s", got, err, want)
		}
	}
	size("52428800")
	mtatest.Write(t, i.conf, strings.Replace(i.text, `"50MB"`, `"10MB"`, 1)+"[[route]]\ndomain = \"far.test\"\nto = \"discard\"\n")
	for _, d := range all {
		d.Signal(t, syscall.SIGHUP)
		d.Await(t, "level=info event=reloaded config="+i.conf)
	}
	size("10485760")
	mtatest.Write(t, i.conf, strings.Replace(i.text, `max_message_size = "50MB"`, `max_massage_size = "20MB"`, 1)+"[pop3d]\nidle_timeout = \"never\"\n")
	for _, d := range all {
		d.Signal(t, syscall.SIGHUP)
		d.Await(t, `level=error event=config-problem where="?`+i.conf+`:\d+"? key="?smtpd.max_massage_size`)
		d.Await(t, `level=error event=config-problem where="?`+i.conf+`:\d+"? key="?pop3d.idle_timeout`)
		d.Await(t, "level=error event=reload-failed config="+i.conf)
	}
	size("10485760")
	id, _, err := i.submit(t, "alice").send([]byte("Subject: x\r\n\r\n"), "alice@here.test", "x@far.test", "bob@here.test")
	if err != nil {
		t.Fatal(err)
	}
	i.queue.Await(t, "event=delivered id="+id+" to=<x@far.test> by=discard")
	i.delivered(id, "bob")
	i.one(t, "bob")
	if status, out := i.posthouse("", "check", "--config", i.conf); status != 78 || !strings.Contains(out, "max_massage_size") || !strings.Contains(out, "idle_timeout") {
		t.Errorf("posthouse check: got status %d, want 78 and both faults:\n%s", status, out)
	}
	for _, name := range []string{"smtpd", "queue-runner", "pop3d"} {
		if status := mtatest.Start(t, filepath.Join(bin, name), "--config", i.conf).Status(t); status != 78 {
			t.Errorf("%s on a bad file: got status %d, want 78", name, status)
		}
	}
	mtatest.Write(t, i.conf, i.text)
	i.stop()
	i.wantSound()
}

func TestSMTPDrainsAtItsEnd(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	busy, idle := i.connect(t), i.connect(t)
	if err := busy.begin("x@away.test", i.address("bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := busy.cmd("354", "DATA"); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(busy.nc, "X-Token: drained\r\n\r\nfirst half\r\n"); err != nil {
		t.Fatal(err)
	}
	i.smtpd.Signal(t, syscall.SIGTERM)
	i.smtpd.Await(t, "event=stopping signal=terminated")
	if got, err := idle.expect("421"); err != nil {
		t.Errorf("a session that waits: got %q, %v; want 421", got, err)
	}
	mtatest.Eventually(t, func() error {
		c, err := net.DialTimeout("tcp", i.mx, time.Second)
		if err != nil {
			return nil
		}
		_ = c.Close()
		return fmt.Errorf("%s still takes connections", i.mx)
	})
	if got, err := busy.cmd("250", "second half\r\n."); err != nil {
		t.Errorf("a message under way: got %q, %v; want 250", got, err)
	}
	if status := i.smtpd.Status(t); status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	i.wantTokens(t, "bob", "drained")
	i.stop()
	i.wantSound()
}

func TestPOP3EndsWithoutRemovingWhatWasNotConfirmed(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	i.delivered(i.deposit(t, string(tokenMessage("kept", 100)), "bob"), "bob")
	c := i.login(t, "bob")
	if _, err := c.cmd("DELE 1"); err != nil {
		t.Fatal(err)
	}
	i.pop3d.Terminate(t)
	if line, err := c.br.ReadString('\n'); err == nil && !strings.HasPrefix(line, "-ERR") {
		t.Errorf("got %q, want -ERR or the end", line)
	}
	i.restart(&i.pop3d)
	i.wantTokens(t, "bob", "kept")
	i.one(t, "bob")
	i.stop()
}

// TestQueueSurvivesTheEndOfEachProgram ends them in turn while mail comes in.
func TestQueueSurvivesTheEndOfEachProgram(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	var want []string
	for n, d := range []**mtatest.Program{&i.queue, &i.smtpd, &i.pop3d, &i.queue} {
		for m := range 5 {
			token := fmt.Sprintf("%d-%d", n, m)
			want = append(want, token)
			i.deposit(t, string(tokenMessage(token, 1000)), "bob")
			if m == 2 {
				(*d).Terminate(t)
				if *d == i.smtpd {
					i.restart(d)
				}
			}
		}
		if !(*d).Running() {
			i.restart(d)
		}
	}
	i.wantTokens(t, "bob", want...)
	i.stop()
	i.wantSound()
}
