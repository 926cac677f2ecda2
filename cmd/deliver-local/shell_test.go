package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
)

func TestWhoMayRunPrograms(t *testing.T) {
	dir := t.TempDir()
	passwd, shells, none := filepath.Join(dir, "passwd"), filepath.Join(dir, "shells"), filepath.Join(dir, "none")
	for path, text := range map[string]string{
		passwd: "root:x:0:0::/root:/bin/sh\nftp:x:1:1::/home/ftp:/usr/sbin/nologin\nfalse:x:2:2::/:/bin/false\nbob:x:3:3::/home/bob:/bin/bash\n" +
			"git:x:4:4::/home/git:/usr/bin/git-shell\nold:x:5:5::/home/old:\nbroken:x:6\nbob2:x:3:3::/:/bin/false\n",
		shells: "# shells\n/bin/sh\n/bin/bash \n/usr/sbin/nologin\n/bin/false\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		uid    uint32
		shells string
		why    string
	}{
		{1, shells, "the shell /usr/sbin/nologin is not one of"}, // though it is listed
		{2, shells, "the shell /bin/false"},
		{4, shells, "the shell /usr/bin/git-shell"},
		{6, shells, "has no uid 6"},
		{7, shells, "has no uid 7"},
		{3, none, "the shell /bin/bash"},
		{3, dir, "is a directory"},
		{3, shells, ""},
		{5, shells, ""},
		{5, none, ""},
	} {
		err := mayRun(c.uid, passwd, c.shells)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("uid %d, %s: got %v, want %q", c.uid, c.shells, err, c.why)
		}
	}
	if err := mayRun(3, none, shells); err == nil {
		t.Error("without accounts: got nil, want an error")
	}
}

func TestNoProgramWithoutAShell(t *testing.T) {
	p := home(t)
	p.noPrograms = mayRun(1<<30, "/dev/null", "/dev/null")
	p.write(t, ".forward", "|/bin/true\n")
	o, targets := p.deliver(t.Context(), delivery(), letterOf(t, text))
	if o.Status != mta.Deferred || targets != nil || o.Cause == nil || !strings.Contains(o.Cause.Error(), ".forward:1: |/bin/true: /dev/null has no uid") {
		t.Errorf("got %+v, %v; want it to wait", o, targets)
	}
	d := delivery()
	d.Target = asuser.Target{Kind: asuser.ToProgram, Value: "/bin/sh -c 'echo >ran'"} // from before
	if o, _ := p.deliver(t.Context(), d, letterOf(t, text)); o.Status != mta.Deferred {
		t.Errorf("got %+v, want it to wait", o)
	}
	if _, err := os.Stat(p.home + "/ran"); err == nil {
		t.Error("it was run")
	}
}
