package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// launcher builds filter-run.
func launcher(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filter-run")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/filter-run")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestAFilterReachesWhatItNeedsAndNoMore(t *testing.T) {
	mtatest.NeedLandlock(t)
	s := newSite(t, "one", "dkim")
	s.opt.Launcher = launcher(t)
	s.settings("one", "[settings]\ntag = \"x\"\n")
	s.start()
	write := func(name string) string {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, users, other, queued := write("keys/example.org.mail.pem"), write("users"), write("state/dkim/store"), write("spool/incoming/x.seg")
	arriving, own := write("spool/tmp/1K0ZRAC0VZ7FB7X7"), write("state/one/store")
	ask := strings.Join([]string{key, users, other, queued, arriving, own, "/etc/shadow", "/etc/resolv.conf"}, " ")
	const env = 9 // PATH LANG HOME TMPDIR, go-plugin's five
	for name, want := range map[string][]string{"one": {arriving, own, "/etc/resolv.conf"}, "dkim": {key, other, arriving, "/etc/resolv.conf"}} {
		r := s.judge(do(name + " peek " + ask))
		wantRendered(t, strings.SplitAfter(r.rendered, "\r\n")[0], "X-Peek: "+strings.Join(want, " ")+fmt.Sprintf(" stdin=true env=%d\r\n", env))
	}
	r := s.judge(do("one body", "one write"))
	if !strings.HasPrefix(r.rendered, "X-Wrote: yes\r\n") {
		t.Errorf("got %+v, %q; want it to write in its own folder", r.Verdict, r.rendered)
	}
	r = s.judge(do("one body"))
	if !strings.HasSuffix(r.rendered, "line ends") {
		t.Errorf("got %+v, %q; want it to replace the body", r.Verdict, r.rendered)
	}
	r = s.judge(do(fmt.Sprintf("one strike %d", os.Getpid())))
	if !strings.HasPrefix(r.rendered, "X-Strike: false\r\n") {
		t.Errorf("got %q; want no signal to reach smtpd", r.rendered)
	}
}
