package local_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

var bob = mta.Address{Local: "bob", Domain: "x"}

// limited is a machine whose mailboxes have quotas.
func limited(t *testing.T) *post {
	p := newPost(t)
	p.disk.Now = func() time.Time { return start }
	p.restart("runner")
	return p
}

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// restart begins a process with what it does not know any more.
func (p *post) restart(name string) {
	p.d.FS = p.disk.Process(name)
	p.d.Quotas = local.NewQuotas(p.d.FS)
	p.d.Quotas.Now = func() time.Time { return start }
}

// numbered is message n of so many octets for bob, who may have quota octets.
func numbered(n int, octets int, quota int64) local.Request {
	r := request(strings.Repeat("x", octets-len(head)))
	r.ID = mta.ID(fmt.Sprintf("0A0000000000%04d", n))
	r.Login, r.Quota = bob, quota
	return r
}

func (p *post) file(path string) string {
	p.t.Helper()
	return files(p.t, p.disk.Process("look"), box)[box+"/"+path]
}

func (p *post) said(quota int64) maildir.Usage {
	p.t.Helper()
	u, ok, err := maildir.Counter{FS: p.disk.Process("look"), Path: box, Limit: quota}.Said()
	if err != nil || !ok {
		p.t.Fatalf("quota file %q: %v", p.file(maildir.QuotaFile), err)
	}
	return u
}

func TestWhatTheQuotaDoesNotAllowWaitsOrGoesBack(t *testing.T) {
	for _, bounces := range []bool{false, true} {
		p := limited(t)
		p.d.QuotaBounces = bounces
		want := mta.Outcome{Status: mta.Deferred, Code: 452, Enhanced: "4.2.2", Text: local.FullText}
		if bounces {
			want = mta.Outcome{Status: mta.Failed, Code: 552, Enhanced: "5.2.2", Text: local.FullText}
		}
		p.mustDeliver(numbered(1, 600, 1000))
		if got := p.deliver(numbered(2, 401, 1000)); got != want {
			t.Errorf("bounces %v: got %+v, want %+v", bounces, got, want)
		}
		p.mustDeliver(numbered(3, 400, 1000))
		if got := p.deliver(numbered(4, 100, 1000)); got != want {
			t.Errorf("bounces %v, full: got %+v, want %+v", bounces, got, want)
		}
		if got := p.deliver(numbered(5, 1001, 1000)); got.Enhanced != want.Enhanced {
			t.Errorf("bounces %v, full and large: got %+v", bounces, got)
		}
		if got, want := p.said(1000), (maildir.Usage{Messages: 2, Octets: 1000}); got != want {
			t.Errorf("bounces %v: got %v counted, want %v", bounces, got, want)
		}
		// What is in Trash counts for nobody; what is refused leaves nothing in tmp/.
		r := numbered(6, 300, 1000)
		r.Folder, r.MakeFolder = "Trash", true
		p.mustDeliver(r)
		if all := files(t, p.disk.Process("look"), box); len(all) != 5 { // three messages, maildirfolder, maildirsize
			t.Errorf("bounces %v: got %v", bounces, all)
		}
		// Without a quota there is room, and the count goes on.
		p.mustDeliver(numbered(7, 500, 0))
		if got := p.said(1000); got.Octets != 1500 {
			t.Errorf("bounces %v: without a quota: got %v counted", bounces, got)
		}
	}
}

func TestAQuotaThatCannotBeCountedLetsMailWait(t *testing.T) {
	p := limited(t)
	p.mustDeliver(numbered(1, 100, 1000))
	p.disk.Hook = func(op simdisk.Op) error {
		if strings.Contains(op.Path, "/tmp/") && strings.HasSuffix(op.Path, maildir.QuotaFile) {
			return fs.ErrExist // which is no sign of a message that was delivered
		}
		return nil
	}
	if got := p.deliver(numbered(2, 100, 2000)); got.Status != mta.Deferred || got.Code != 451 {
		t.Errorf("got %+v, want it deferred", got)
	}
}

func TestAMessageThatNeverFitsGoesBack(t *testing.T) {
	p := limited(t)
	if got := p.deliver(numbered(1, 1001, 1000)); got.Status != mta.Failed || got.Code != 552 || got.Enhanced != "5.2.3" {
		t.Errorf("got %+v", got)
	}
}

func TestSmtpdLearnsWhereThereIsNoRoom(t *testing.T) {
	p := limited(t)
	limit := int64(1000)
	quota := func(mta.Address) int64 { return limit }
	expect := func(when string, want ...int64) {
		t.Helper()
		got := p.d.Quotas.Room(quota)
		if left, ok := got[bob]; len(got) != len(want) || len(want) > 0 && (!ok || left != want[0]) {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
	}
	expect("at first")
	p.mustDeliver(numbered(1, 800, limit))
	expect("80 %")
	p.deliver(numbered(5, 300, limit))
	expect("no room for 300", 200)
	p.deliver(numbered(6, 100, limit))
	expect("none for 300 still", 100)
	if err := (maildir.Counter{FS: p.d.FS, Path: box, Limit: limit}).Add(maildir.Usage{Messages: -1, Octets: -300}); err != nil {
		t.Fatal(err)
	}
	expect("room for 300 again")
	if err := (maildir.Counter{FS: p.d.FS, Path: box, Limit: limit}).Add(maildir.Usage{Messages: 1, Octets: 200}); err != nil {
		t.Fatal(err)
	}
	p.mustDeliver(numbered(2, 150, limit))
	expect("95 %", 50)
	p.mustDeliver(numbered(3, 50, limit))
	expect("100 %", 0)
	limit = 500
	expect("a smaller quota, counted anew", -600)
	limit = 2000
	expect("a larger one")
	limit = 1000
	p.deliver(numbered(4, 100, limit))
	expect("refused", -100)
	limit = 0
	expect("no quota any more")
}

func TestAUserIsWarnedOnce(t *testing.T) {
	p := limited(t)
	p.d.QuotaWarning = 90
	warnings := func() (n int, last string) {
		for path, text := range files(t, p.disk.Process("look"), box+"/new") {
			if strings.Contains(path, ".quota") {
				n, last = n+1, text
			}
		}
		return n, last
	}
	p.mustDeliver(numbered(1, 8000, 10000))
	if n, _ := warnings(); n != 0 {
		t.Errorf("80 %%: got %d warnings", n)
	}
	p.mustDeliver(numbered(2, 1000, 10000))
	n, text := warnings()
	for _, want := range []string{"Return-Path: <>\n", "To: <bob@x>\n", "From: Postmaster <postmaster@h.x>\n", "Subject: Your mailbox is 90 % full\n",
		"Auto-Submitted: auto-generated\n", "holds 8.8 KB of the 9.8 KB", "waits"} {
		if n != 1 || !strings.Contains(text, want) {
			t.Fatalf("90 %%: got %d warnings, %q, want %q in it", n, text, want)
		}
	}
	if got, want := p.said(10000).Octets, int64(9000+len(text)); got != want {
		t.Errorf("got %d counted, want the warning too: %d", got, want)
	}
	p.mustDeliver(numbered(3, 100, 10000))
	if n, _ := warnings(); n != 1 {
		t.Errorf("91 %%: got %d warnings, want the first alone", n)
	}
	// A user who has made room is warned again.
	if err := (maildir.Counter{FS: p.d.FS, Path: box, Limit: 10000}).Add(maildir.Usage{Messages: -1, Octets: -8000}); err != nil {
		t.Fatal(err)
	}
	p.mustDeliver(numbered(4, 8000, 10000))
	if n, _ := warnings(); n != 2 {
		t.Errorf("90 %% again: got %d warnings, want two", n)
	}
}

func TestANewMailboxBeginsWithItsWelcome(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a text":       {"Hello!\n\nThis is: text\n", "Content-Transfer-Encoding: 8bit\nSubject: Welcome\n\nHello!\n\nThis is: text\n"},
		"a message":    {"Subject: Hi\nFrom: us@x\n\nHello!\n", "Content-Transfer-Encoding: 8bit\nSubject: Hi\nFrom: us@x\n\nHello!\n"},
		"with its own": {"MIME-Version: 1.0\nContent-Type: text/html\nSubject: Hi\n\n<p>\n", "Message-ID: <welcome.0A00000000000001@h.x>\nMIME-Version: 1.0\nContent-Type: text/html\nSubject: Hi\n\n<p>\n"},
	} {
		p := limited(t)
		p.d.Welcome = []byte(c.text)
		p.mustDeliver(numbered(1, 100, 0))
		p.mustDeliver(numbered(2, 100, 0))
		all := files(t, p.disk.Process("look"), box)
		got := ""
		for path, text := range all {
			if strings.HasPrefix(path, box+"/new/") && strings.Contains(path, ".welcome1.") {
				got = text
			}
		}
		if len(all) != 3 || !strings.HasSuffix(got, c.want) || !strings.HasPrefix(got, "Return-Path: <>\nDelivered-To: bob@x\n") {
			t.Errorf("%s: got %d files, %q", name, len(all), got)
		}
	}
}

// TestNoCrashLosesOrDoublesAMessageForItsQuota kills the deliverer before each operation, or cuts the power, and lets it look again.
func TestNoCrashLosesOrDoublesAMessageForItsQuota(t *testing.T) {
	for _, power := range []bool{false, true} {
		for at := 1; ; at++ {
			p := limited(t)
			p.d.QuotaWarning, p.d.Welcome = 10, []byte("Hello!\n")
			p.d.Sync = local.SyncEach
			p.disk.Hook = func(op simdisk.Op) error {
				if op.Seq == at && op.Proc == "runner" {
					if power {
						p.disk.PowerOff()
					} else {
						p.disk.KillLocked("runner")
					}
				}
				return nil
			}
			var lasting [2]bool // what the queue may forget
			for n, octets := range []int{300, 900} {
				o, receipt := p.d.Deliver(t.Context(), numbered(n+1, octets, 10000))
				lasting[n] = o.Status == mta.Delivered && receipt.Synced
			}
			through := p.disk.Ops() < at
			if power {
				p.disk.PowerLoss(rand.New(rand.NewPCG(1, uint64(at))))
			}
			p.disk.Hook = nil
			p.restart("again")
			for n, last := range lasting {
				if !last {
					r := numbered(n+1, []int{300, 900}[n], 10000)
					r.Look = true
					p.mustDeliver(r)
				}
			}
			found := map[string]int{}
			for path, text := range files(t, p.disk.Process("look"), box+"/new") {
				for _, kind := range []string{"0001.1.h", "0002.1.h", ".welcome"} {
					if strings.Contains(path, kind) {
						found[kind]++
					}
				}
				if strings.Contains(path, ".1.h") && !strings.HasSuffix(text, "xx") {
					t.Errorf("power %v, operation %d: %s is not whole", power, at, path)
				}
			}
			if found["0001.1.h"] != 1 || found["0002.1.h"] != 1 || found[".welcome"] > 1 {
				t.Fatalf("power %v, operation %d: got %v", power, at, found)
			}
			// Whatever the count says, it is right again where it matters.
			used, err := maildir.Counter{FS: p.disk.Process("look"), Path: box, Limit: 10000, Now: func() time.Time { return start.Add(time.Hour) }}.Used(10000)
			h, merr := maildir.Measure(p.disk.Process("look"), box)
			if err != nil || merr != nil || used != h.Counted {
				t.Fatalf("power %v, operation %d: got %v counted of %v, %v %v", power, at, used, h.Counted, err, merr)
			}
			if through {
				if at < 20 {
					t.Fatalf("only %d operations", at)
				}
				break
			}
		}
	}
}

// TestAWelcomeIsAFile: a FIFO would have the program wait for ever.
func TestAWelcomeIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "welcome")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("Hello!\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadWelcome(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a FIFO: got %v", err)
	}
}
