package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// keysGroup is that of the machine's keys.
const keysGroup = 914

// arcVerify prints what dkimpy finds of the chain of a message, with the one key that it is given.
const arcVerify = `
import dkim, sys
def txt(name, timeout=5): return (sys.argv[2] if name.decode().rstrip(".") == sys.argv[1] else "").encode()
cv, results, reason = dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=txt)
print(cv.decode(), len(results), reason)`

// TestWhatIsForwardedIsSealed has what goes on to other hosts by an alias, a member of one and a ~/.forward verified by a program of
// others, where the filter arc is on.
func TestWhatIsForwardedIsSealed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	python := mtatest.Need(t, "/usr/bin/python3")
	if out, err := exec.Command(python, "-c", "import dkim, nacl, authres").CombinedOutput(); err != nil {
		mtatest.Lacking(t, "no python3-dkim, python3-nacl and python3-authres: %v: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mtatest.Write(t, filepath.Join(dir, "aliases"), "away: alias@far.test\nboth: alice, member@far.test\n")
	mtatest.Write(t, filepath.Join(dir, "filters.d/arc.toml"), "")
	if err := errorOf(os.Mkdir(filepath.Join(dir, "filters"), 0o755), os.Symlink(filepath.Join(bin, "filter"), filepath.Join(dir, "filters/arc")), os.Chmod(dir, 0o755),
		os.Chmod(filepath.Join(dir, "filters.d"), 0o755), os.Chmod(filepath.Join(dir, "filters.d/arc.toml"), 0o644), os.Chmod(filepath.Join(dir, "aliases"), 0o644)); err != nil {
		t.Fatal(err)
	}
	far := (&mtatest.Sink{}).Start(t, ownIP()+":0")
	m := newMachine(t, options{
		top:    "[[route]]\ndomain = \"far.test\"\nto = \"smtp:" + far.Addr() + "\"\ntls = \"none\"\n",
		inside: fmt.Sprintf("aliases = %q\n", dir+"/aliases"),
		more:   fmt.Sprintf("[filters]\nenabled = [\"arc\"]\ndirectory = %q\nsettings = %q\n", dir+"/filters", dir+"/filters.d"),
	})
	signer, pem, err := sign.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	key := sign.Key{Domain: m.domain, Selector: "s1", Signer: signer}
	record, err := key.Record()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.dir, "state/keys", m.domain+".s1.pem")
	m.text = strings.Replace(m.text, "\nmailboxes = \"system\"\n", "\nmailboxes = \"system\"\ndkim = [\"s1\"]\n", 1)
	if err := errorOf(os.WriteFile(file, pem, 0o640), os.Chown(file, 0, keysGroup), os.WriteFile(m.conf, []byte(m.text), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*mtatest.Program{m.smtpd, m.queue} {
		d.Signal(t, syscall.SIGHUP)
		d.Await(t, "event=reloaded")
	}
	m.owns("bob", ".forward", "forward@far.test\n", 0o644)
	m.send("sealed", "away", "both", "bob")
	want := []string{"alias@far.test", "member@far.test", "forward@far.test"}
	mtatest.Eventually(t, func() error {
		if n := len(far.Messages()); n != len(want) {
			return fmt.Errorf("%d messages were forwarded", n)
		}
		return nil
	})
	for _, got := range far.Messages() {
		cmd := exec.Command(python, "-c", arcVerify, key.Name(), record)
		cmd.Stdin = strings.NewReader(got.Data)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "pass 1 ") {
			t.Errorf("%v: dkimpy says %s%v of\n%s", got.Rcpts, out, err, got.Data)
		}
		if !strings.Contains(got.Data, "ARC-Authentication-Results: i=1; mx."+m.domain+";") {
			t.Errorf("%v: no results of ours in\n%s", got.Rcpts, got.Data)
		}
	}
}
