package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

// TestAFilterThatFailsIsAnsweredForByOnFailure has each way to fail with real processes.
func TestAFilterThatFailsIsAnsweredForByOnFailure(t *testing.T) {
	for _, c := range []struct {
		name      string
		do        string // what the message asks for
		installed string
		config    string
		err       string // in the log, of the call
		down      string // in the log, of the process; "" = it lives
	}{
		{"crash", "bad crash", "bad", "", "Unavailable|closed|closing|EOF|reset", "ended by itself"},
		{"out of memory", "bad eat", "bad", "", "Unavailable|closed|closing|EOF|reset", "ended by itself"},
		{"killed by the kernel, as when the machine's memory runs out", "bad killed", "bad", "", "Unavailable|closed|closing|EOF|reset", "ended by itself"},
		{"crash, and a child has its pipes", "bad leave", "bad", "", "Unavailable|closed|closing|EOF|reset", "ended by itself"},
		{"hang", "bad hang", "bad", "[filter]\ntimeout = \"300ms\"", "DeadlineExceeded", ""},
		{"error", "bad error", "bad", "", "no license", ""},
		{"garbage on stdout", "", "garbage", "", "the filter is down", "start: error parsing core protocol"},
		{"endless stdout", "", "flood", "", "the filter is down", "start: "},
		{"never says a word", "", "silent", "", "the filter is down", "start: timeout"},
		{"listens nowhere", "", "deaf", "", "the filter is down", "describe: |connect: "},
		{"ends at once", "", "short", "", "the filter is down", `it said: cannot open the store`},
		{"a newer protocol", "", "newer", "", "the filter is down", "start: .*[Ii]ncompatible API version"},
		{"listens on the network", "", "network", "", "the filter is down", "it listens at"},
		{"refuses its settings", "", "bad", "\n[settings]\ntag = \"bad\"", "the filter is down", `bad.toml:3: bad is not allowed`},
		{"unknown setting", "", "bad", "[settings]\n\n\nunknown = 1", "the filter is down", `bad.toml:4: unknown key settings.unknown`},
		{"unknown key of ours", "", "bad", "[filter]\ntimeoud = 1", "the filter is down", `unknown key filter.timeoud`},
		{"cannot activate", "", "bad", "[settings]\ntag = \"inactive\"", "the filter is down", `activate: the store is locked`},
		{"is not there", "", "", "", "the filter is down", "no such file"},
	} {
		policies := []string{host.OnFailureTempFail, host.OnFailureAccept}
		if testing.Short() {
			policies = policies[:1]
		}
		for _, policy := range policies {
			t.Run(c.name+", "+policy, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				name := c.installed
				if name == "" {
					name = "missing"
				} else {
					s.install(name)
				}
				s.install("good")
				s.opt.Enabled = []string{name, "good"}
				s.opt.OnFailure = policy
				if c.config != "" {
					s.settings(name, c.config)
				}
				if c.name == "never says a word" || c.name == "listens nowhere" {
					s.startBehind(name) // by then the good one has had all the time that it needs
				} else {
					s.start()
				}
				r := s.judge(do(c.do, "good top seen"))
				want := mta.GoOn
				if policy == host.OnFailureTempFail {
					want = mta.NotJudged
				}
				if r.Action != want || want == mta.NotJudged && r.Reply.Code != 451 || (want == mta.GoOn) != strings.HasPrefix(r.rendered, "X-Top: seen\r\n") {
					t.Errorf("got %+v, %q", r.Verdict, r.rendered)
				}
				line := `event=filter-failed .*filter=` + name + ` stage=message verdict=` + policy + ` err=.*(` + c.err + `)`
				if n := len(regexp.MustCompile(line).FindAllString(s.logged(), -1)); n != 1 {
					t.Errorf("got %d lines %s, want one", n, line)
				}
				if c.down != "" {
					s.await(`event=filter-down filter=` + name + ` err=.*(` + c.down + `)`)
				} else if strings.Contains(s.logged(), "filter-down") {
					t.Error("the filter is down, want it alive")
				}
				if c.name == "out of memory" {
					// Of what it was short decides how its runtime words it, and it has said nothing before.
					s.await(`event=filter-says filter=bad text=`)
				}
			})
		}
	}
}

// startBehind starts the host with the filter good, and then name before it, which is given little time to start.
func (s *site) startBehind(name string) {
	s.t.Helper()
	late := s.opt
	late.StartTimeout = 3 * time.Second
	s.opt.Enabled = []string{"good"}
	if err := s.start().SetOptions(late); err != nil {
		s.t.Fatal(err)
	}
	s.await("event=filter-down filter=" + name)
}

func TestAFilterThatAnswersNoMoreIsStartedAgain(t *testing.T) {
	for _, c := range []struct {
		do      string
		timeout string
		times   int
	}{
		{"one unplug", "2m", 1}, // the call ends with the connection
		{"one hang", "100ms", 10},
	} {
		t.Run(c.do, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "one")
			s.settings("one", "[filter]\ntimeout = \""+c.timeout+"\"")
			s.start()
			for range c.times {
				if r := s.judge(do(c.do)); r.Action != mta.NotJudged {
					t.Fatalf("got %+v", r.Verdict)
				}
			}
			s.await(`(?s)event=filter-down filter=one err=.*(answers no more).*event=filter-started filter=one`)
		})
	}
}

func TestSettingsOfAnySizeCostNoMemory(t *testing.T) {
	s := newSite(t, "one")
	s.settings("one", "")
	if err := os.Truncate(filepath.Join(s.opt.Settings, "one.toml"), 1<<40); err != nil {
		t.Skip("the filesystem has no files of 1 TB: ", err)
	}
	s.start()
	s.await("event=filter-down filter=one err=.*one.toml is larger than 1 MB")
}

func TestAFilterThatNeverWorkedIsMissedWhereItsSettingsLetItWork(t *testing.T) {
	s := newSite(t)
	s.opt.Enabled = []string{"missing"}
	s.settings("missing", "[filter]\nroles = [\"submission\"]")
	s.start()
	if r := s.judge(do()); r.Action != mta.GoOn {
		t.Errorf("role mx: got %+v", r.Verdict)
	}
	e := event(mta.AtMessage)
	e.Role = mta.RoleSubmission
	if r := s.judgeAs(e, do()); r.Action != mta.NotJudged {
		t.Errorf("role submission: got %+v", r.Verdict)
	}
}

func TestASlowStartIsWaitedFor(t *testing.T) {
	s := newSite(t, "slow", "quick")
	s.settings("slow", "[settings]\nslow = 1500")
	s.start()
	if r := s.judge(do("slow top a", "quick top b")); r.Action != mta.GoOn || !strings.HasPrefix(r.rendered, "X-Top: b\r\nX-Top: a\r\n") {
		t.Errorf("got %+v, %q", r.Verdict, r.rendered)
	}
}

// delays are the waits before each restart, as the log tells them.
func delays(t *testing.T, log, name string) []time.Duration {
	t.Helper()
	var all []time.Duration
	for _, m := range regexp.MustCompile(`event=filter-down filter=`+name+` .*delay=(\S+)`).FindAllStringSubmatch(log, -1) {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func TestAFilterIsStartedAgainWithGrowingDelays(t *testing.T) {
	s := newSite(t, "one")
	s.opt.OnFailure = host.OnFailureAccept
	s.start()
	for i := range 3 {
		s.judge(do("one crash"))
		s.await(fmt.Sprintf(`(?s)(event=filter-started filter=one.*){%d}`, i+2))
	}
	want := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
	if got := delays(t, s.logged(), "one"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got the delays %v, want %v", got, want)
	}
	if r := s.judge(do("one top back")); !strings.HasPrefix(r.rendered, "X-Top: back\r\n") {
		t.Errorf("after the restarts: got %q", r.rendered)
	}
}

func TestLocalMailWaitsForAFilterThatComesBack(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	e := event(mta.AtMessage)
	e.Role = mta.RoleLocal
	s.kill()
	s.await("event=filter-down")
	if r := s.judgeAs(e, do("one top back")); r.Action != mta.GoOn || !strings.HasPrefix(r.rendered, "X-Top: back\r\n") {
		t.Errorf("got %+v, %q", r.Verdict, r.rendered)
	}
}

func TestACrashInTheMiddleOfASessionLosesNothingOfIt(t *testing.T) {
	s := newSite(t, "one", "two")
	s.opt.OnFailure = host.OnFailureAccept
	s.start()
	f := s.host.Session()
	defer f.End()
	f.Ask(t.Context(), event(mta.AtConnect))
	s.kill()
	s.await(`(?s)(event=filter-started filter=one.*){2}`)
	s.await(`(?s)(event=filter-started filter=two.*){2}`)
	e := event(mta.AtMessage)
	if r := s.message(f, e, do("two seen")); !strings.HasPrefix(r.rendered, "X-Seen: notes=2 ") {
		t.Errorf("got %q, want the notes of before", r.rendered)
	}
}

// TestFiltersThatAreKilledAllTheTimeLoseNothing counts: each message is judged, refused for now, or taken unjudged; none
// hangs, and nothing is left behind.
func TestFiltersThatAreKilledAllTheTimeLoseNothing(t *testing.T) {
	s := newSite(t, "one", "two")
	s.start()
	length := 3 * time.Second
	if v := os.Getenv("POSTHOUSE_CRASH"); v == "full" {
		length = time.Minute
	}
	end := time.Now().Add(length)
	late := end.Add(patience) // for a machine so busy that nothing was judged between two kills
	var work sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	until := func(what string) bool {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		return now.Before(end) || now.Before(late) && counts[what] == 0
	}
	s.kill() // once at least, however slow the machine is
	work.Go(func() {
		for until("3") {
			s.kill()
			time.Sleep(200 * time.Millisecond)
		}
	})
	for range 8 {
		work.Go(func() {
			for until("0") || until("3") {
				r := s.judge(do("one top a", "two bottom b"))
				what := fmt.Sprint(r.Action)
				if r.Action == mta.GoOn && (!strings.HasPrefix(r.rendered, "X-Top: a\r\n") || !strings.Contains(r.rendered, "X-Bottom: b\r\n")) {
					what = "half"
				}
				mu.Lock()
				counts[what]++
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	work.Wait()
	t.Logf("judged %d, refused for now %d", counts["0"], counts["3"])
	if counts["half"] > 0 || len(counts) > 2 || counts["0"] == 0 || counts["3"] == 0 {
		t.Errorf("got %v; want some judged whole, some refused for now, and nothing else", counts)
	}
}

func TestWhatAFilterHasStartedEndsWithIt(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	r := s.judge(do("one nurse"))
	m := regexp.MustCompile(`(?m)^X-Child: (\d+)\r$`).FindStringSubmatch(r.rendered)
	if m == nil {
		t.Fatalf("got %+v %q", r.Verdict, r.rendered)
	}
	child := filepath.Join("/proc", m[1], "cmdline")
	alive := func() bool {
		b, err := os.ReadFile(child)
		return err == nil && strings.HasPrefix(string(b), "/bin/sleep\x00300\x00")
	}
	for end := time.Now().Add(patience); !alive(); time.Sleep(10 * time.Millisecond) { // its arguments come last in its exec
		if time.Now().After(end) {
			t.Fatal("the filter's child does not run")
		}
	}
	s.kill()
	for end := time.Now().Add(patience); alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the child outlives the filter")
		}
	}
}

// kill ends the site's filters as the kernel would.
func (s *site) kill() {
	s.t.Helper()
	for _, p := range s.processes() {
		pid, err := strconv.Atoi(p)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

func TestWhatOthersCouldHaveWrittenIsNotStarted(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *site, path string) error
		want string
	}{
		{"the file", func(_ *site, path string) error { return os.Chmod(path, 0o777) }, "others can write it"},
		{"its folder", func(s *site, _ string) error { return os.Chmod(s.opt.Directory, 0o770) }, "others can write it"},
		{"a stranger's", func(_ *site, path string) error { return os.Chown(path, 4242, -1) }, "belongs to uid 4242"},
		{"a folder", func(_ *site, path string) error { _ = os.Remove(path); return os.Mkdir(path, 0o700) }, "not a regular file"},
		{"a link to what others can write", func(s *site, path string) error {
			_ = os.Remove(path)
			open := filepath.Join(s.dir, "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(open, "x"), []byte("#!/bin/sh\n"), 0o700); err != nil {
				return err
			}
			if err := os.Chmod(open, 0o777); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(open, "x"), path)
		}, "others can write it"},
		{"its settings", func(s *site, _ string) error {
			s.settings("one", "")
			return os.Chmod(filepath.Join(s.opt.Settings, "one.toml"), 0o666)
		}, "others can write it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Geteuid() != 0 && c.name == "a stranger's" {
				t.Skip("needs root, to give a file away")
			}
			s := newSite(t)
			s.opt.Enabled = []string{"one"}
			path := filepath.Join(s.opt.Directory, "one")
			if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.do(s, path); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.await("event=filter-down filter=one err=.*" + c.want)
		})
	}
}
