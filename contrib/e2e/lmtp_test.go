package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestAFrontHandsOverByLMTP: a host that strangers talk to, and one behind it that has the mailboxes and hears nobody else.
func TestAFrontHandsOverByLMTP(t *testing.T) {
	t.Parallel()
	front, store := ownIP(), ownIP()
	lmtp := fmt.Sprintf("%s:%d", store, freePort(t, store))
	there := start(t, options{ip: store, users: []string{"alice", "bob"},
		more: fmt.Sprintf("[smtpd]\ntrusted_networks = [\"%s/32\"]\n[[smtpd.listen]]\naddress = %q\nrole = \"lmtp\"\n", front, lmtp)})
	here := start(t, options{ip: front, domain: "front.test", users: []string{"carol"},
		more: fmt.Sprintf("[domains.\"here.test\"]\nmailboxes = \"relay\"\nrecipients = \"any\"\n[[route]]\ndomain = \"here.test\"\nto = \"lmtp:%s\"\ntls = \"encrypt\"\n[outbound]\nsource = [%q]\n", lmtp, front)})
	c, err := dialSMTP(here.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.cmd("250", "EHLO away.test"); err != nil {
		t.Fatal(err)
	}
	id, _, err := c.send([]byte(message("handed over")), "ann@away.test", "alice@here.test", "bob@here.test", "nobody@here.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, local := range []string{"alice", "bob"} {
		here.queue.Await(t, "event=delivered id="+id+" to=<"+local+"@here.test>")
		there.queue.Await(t, "event=delivered .*to=<"+local+"@here.test>")
		files := there.files(local)
		if len(files) != 1 {
			t.Fatalf("%s has %d messages, want 1", local, len(files))
		}
		if got := contentOf(t, files[0]); !strings.Contains(got, "handed over") || !strings.Contains(got, " with LMTPS") {
			t.Errorf("%s got %s", local, got)
		}
	}
	here.queue.Await(t, "event=failed id="+id+" to=<nobody@here.test>.* reply=\"550 5.1.1")
	for _, i := range []*instance{here, there} {
		i.stop()
		i.wantSound()
	}
}

// TestAClientOfLMTP is Python's, on a Unix socket.
func TestAClientOfLMTP(t *testing.T) {
	t.Parallel()
	python := mtatest.Need(t, "python3")
	i := newInstance(t, options{})
	socket := filepath.Join(i.dir, "lmtp.sock")
	i.text += fmt.Sprintf("[[smtpd.listen]]\naddress = \"unix:%s\"\nrole = \"lmtp\"\n", socket)
	mtatest.Write(t, i.conf, i.text)
	i.startAll()
	out, err := exec.Command(python, "-c", `
import smtplib, sys
c = smtplib.LMTP(sys.argv[1])
print(c.sendmail("ann@far.test", ["alice@here.test", "bob@here.test", "nobody@here.test", "x@elsewhere.test"], "Subject: by lmtp\r\n\r\nbody\r\n"))
c.quit()
`, socket).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"'nobody@here.test': (550, b'5.1.1", "'x@elsewhere.test': (550, b'5.7.1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %s, want %s in it", out, want)
		}
	}
	for _, local := range []string{"alice", "bob"} {
		i.queue.Await(t, "event=delivered .*to=<"+local+"@here.test>")
		if files := i.files(local); len(files) != 1 || !strings.Contains(contentOf(t, files[0]), "by lmtp") {
			t.Errorf("%s got %q", local, files)
		}
	}
	if nc, err := net.Dial("unix", socket); err != nil {
		t.Error("another client:", err)
	} else {
		_ = nc.Close()
	}
	i.stop()
	i.wantSound()
}

func contentOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
