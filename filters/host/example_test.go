package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// need says whether what a test needs is there; with CI=true it has to be.
func need(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		t.Skipf("%s: %v", program, err)
	}
}

// tries puts the filter tag through what the guide says of it.
func tries(t *testing.T, s *site) {
	t.Helper()
	s.opt.Enabled, s.opt.Launcher = []string{"tag"}, launcher(t)
	s.start()
	s.await("event=filter-started filter=tag version=1.0")
	for _, c := range []struct{ content, want string }{
		{"Subject: hello\r\nX: y\r\n\r\nbody\r\n", received + "Subject: [tag] hello\r\nX: y\r\n\r\nbody\r\n"},
		{"Subject: gr\xfc\xdfe\r\n\r\nbody\r\n", received + "Subject: [tag] gr\xfc\xdfe\r\n\r\nbody\r\n"},
		{"X: y\r\n\r\nbody\r\n", "Subject: [tag]" + strings.TrimPrefix(s.empty, "|") + "\r\n" + received + "X: y\r\n\r\nbody\r\n"},
	} {
		r := s.judge(c.content)
		if r.Action != mta.GoOn {
			t.Fatalf("got %+v", r.Verdict)
		}
		wantRendered(t, r.rendered, c.want)
	}
	s.settings("tag", "[settings]\nmark = \"*SPAM*\"\n")
	for begin := time.Now(); !strings.Contains(s.judge(do()).rendered, "Subject: *SPAM* hello\r\n"); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the settings are not live")
		}
	}
	s.settings("tag", "[settings]\nmork = \"x\"\n")
	s.await("event=filter-kept filter=tag err=.*unknown key .*mork")
}

func TestTheExampleInGoWorks(t *testing.T) {
	s := newSite(t)
	s.empty = "| "
	build := exec.Command("go", "build", "-o", filepath.Join(s.opt.Directory, "tag"), "../example-go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tries(t, s)
}

func TestTheExampleInPythonWorks(t *testing.T) {
	need(t, "/usr/bin/python3", "-c", // as the example says itself
		"import grpc, google.protobuf, tomllib")
	need(t, "protoc", "--version")
	s := newSite(t)
	b, err := os.ReadFile("../example-python/tag")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.opt.Directory, "tag"), b, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("protoc", "-I", "../proto", "--python_out="+s.opt.Directory, "filter.proto").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tries(t, s)
}
