package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// tagged waits until a message is tagged so.
func (s *site) tagged(tag string) time.Duration {
	s.t.Helper()
	begin := time.Now()
	for time.Since(begin) < patience {
		if strings.Contains(s.judge(do("one tag")).rendered, "Subject: "+tag+" hello\r\n") {
			return time.Since(begin)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("no message is tagged %s within %v", tag, patience)
	return 0
}

func TestChangesOnDiskAreTakenUpWithoutLosingAMessage(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	var judged, lost atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if r := s.judge(do("one sleep 20ms")); r.Action != mta.GoOn {
				lost.Add(1)
			}
			judged.Add(1)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	s.tagged("[tag]")
	for _, c := range []struct {
		name string
		do   func()
		tag  string
	}{
		{"settings that appear", func() { s.settings("one", "[settings]\ntag = \"a\"") }, "a"},
		{"settings that change", func() { s.settings("one", "[settings]\ntag = \"b\"") }, "b"},
		{"settings that go", func() { _ = os.Remove(filepath.Join(s.opt.Settings, "one.toml")) }, "[tag]"},
	} {
		c.do()
		t.Logf("%s: live after %v", c.name, s.tagged(c.tag))
	}
	before := s.host.Status()[0].PID
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.opt.Directory, "one")
	if err := os.WriteFile(path+".new", exe, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for s.host.Status()[0].PID == before || s.host.Status()[0].State != "running" {
		if time.Since(begin) > patience {
			t.Fatal("the new executable was not started")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("a new executable: live after %v", time.Since(begin))
	close(stop)
	<-stopped
	if lost.Load() > 0 {
		t.Errorf("%d of %d messages were not judged", lost.Load(), judged.Load())
	}
	s.dwindle(1)
}

func TestABadChangeLeavesTheOldOneRunning(t *testing.T) {
	s := newSite(t, "one")
	s.settings("one", "[settings]\ntag = \"a\"")
	s.start()
	for i, c := range []struct{ text, log string }{
		{"[settings]\ntag = \"bad\"", `one.toml:2: bad is not allowed`},
		{"[settings]\ntag = [", `one.toml:2: `},
		{"[settings]\nother = 1", `unknown key settings.other`},
		{"[settings]\ntag = \"inactive\"", `activate: the store is locked`},
	} {
		s.settings("one", c.text)
		s.await(fmt.Sprintf(`(?s)(event=filter-kept filter=one .*){%d}`, i+1))
		s.await(`event=filter-kept filter=one err=.*` + c.log)
		s.tagged("a")
	}
	path := filepath.Join(s.opt.Directory, "one")
	if err := os.Rename(path, path+".gone"); err != nil {
		t.Fatal(err)
	}
	s.await(`event=filter-kept filter=one err=.*no such file`)
	s.tagged("a")
	if strings.Contains(s.logged(), "filter-down") {
		t.Error("the filter was down")
	}
}

func TestAMissingFilterStartsWhenItAppears(t *testing.T) {
	s := newSite(t)
	s.opt.Enabled = []string{"one"}
	s.start()
	s.await("event=filter-down filter=one err=.*no such file")
	s.install("one")
	s.tagged("[tag]")
}

func TestOptionsChangeWhatRuns(t *testing.T) {
	s := newSite(t, "one", "two")
	s.opt.Enabled = []string{"one"}
	s.start()
	if r := s.judge(do("two top a")); strings.HasPrefix(r.rendered, "X-Top") {
		t.Error("a filter that is not enabled was asked")
	}
	o := s.opt
	o.Enabled = []string{"two", "one"}
	if err := s.host.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	s.await("event=filter-started filter=two")
	if r := s.judge(do("one top b", "two top a")); !strings.HasPrefix(r.rendered, "X-Top: b\r\nX-Top: a\r\n") {
		t.Errorf("got %q, want two asked before one", r.rendered)
	}
	o.Enabled = []string{"two"}
	if err := s.host.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	s.await("event=filter-ended filter=one reason=\"no longer enabled\"")
	s.dwindle(1)
	for _, bad := range []string{"../x", "", "UPPER"} {
		o.Enabled = []string{bad}
		if err := s.host.SetOptions(o); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}
