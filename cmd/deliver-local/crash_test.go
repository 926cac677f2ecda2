package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

// machine is a disk with a home, and what queue-runner knows of one message for its owner: each delivery of deliver-local is a
// process of its own, and so is each of what ~/.forward names.
type machine struct {
	t       *testing.T
	disk    *simdisk.Disk
	rng     *rand.Rand
	p       person
	crashed bool // the power is gone
	killed  bool // the process is
	steps   []*step
	reader  bool // a reader is at work
	lost    int  // so many answers reach nobody
	wrap    func(durable.FS) durable.FS
}

// step is one recipient of the message.
type step struct {
	d        asuser.Delivery
	done     bool // recorded
	lasting  bool // and the record is on the disk
	expanded bool
}

func newMachine(t *testing.T, p person, seed uint64) *machine {
	m := &machine{t: t, rng: rand.New(rand.NewPCG(seed, 5)), p: p}
	parts := strings.Split(strings.Trim(p.home, "/"), "/")
	m.disk = simdisk.New(parts[0])
	boot, path := m.disk.Process("boot"), "/"+parts[0]
	for _, part := range parts[1:] {
		path += "/" + part
		if err := boot.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"Maildir", "Maildir/.lists", "Maildir/.lists/tmp", "Maildir/.lists/cur", "Maildir/.lists/new"} {
		if seed%2 == 0 { // in half of all worlds the mailbox is there already
			break
		}
		if err := boot.Mkdir(filepath.Join(p.home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := boot.SyncFS("/" + parts[0]); err != nil {
		t.Fatal(err)
	}
	m.steps = []*step{{d: delivery()}}
	return m
}

// try has one step made as queue-runner would, and notes what becomes of it.
func (m *machine) try(s *step) {
	p := m.p
	p.fs = m.disk.Process("deliver-local")
	if m.wrap != nil {
		p.fs = m.wrap(p.fs)
	}
	o, targets := p.deliver(m.t.Context(), s.d, letterOf(m.t, text))
	s.d.Look = true // another try is one more
	switch {
	case m.crashed:
		m.restart()
	case m.killed: // as-user says so: it is deferred
		m.killed = false
	case len(targets) > 0: // the spool's own tests are about how this is recorded
		s.done, s.expanded = true, true
		for i, target := range targets {
			d := s.d
			d.Index, d.Target, d.Look = len(m.steps)+i, target, false
			m.steps = append(m.steps, &step{d: d})
		}
		m.journal()
	case o.Status != mta.Delivered:
	case m.lost > 0: // deliver-local, as-user or queue-runner was killed before it was written down
		m.lost--
	default:
		s.done = true
		if m.rng.IntN(2) == 0 {
			m.journal()
		}
	}
}

// journal makes what is known last.
func (m *machine) journal() {
	for _, s := range m.steps {
		s.lasting = s.lasting || s.done
	}
}

// restart is what comes behind a power loss.
func (m *machine) restart() {
	m.disk.PowerLoss(m.rng)
	m.crashed = false
	for _, s := range m.steps {
		s.done = s.lasting
		s.d.Look = true
	}
}

// read is a reader's look at the mailboxes: it has seen what is new.
func (m *machine) read() {
	fsys := m.disk.Process("reader")
	for path := range m.messages() {
		dir, name := filepath.Split(path)
		if strings.HasSuffix(dir, "/new/") {
			err := fsys.RenameNoReplace(path, filepath.Join(filepath.Dir(filepath.Clean(dir)), "cur", name+":2,S"))
			if err != nil && !errors.Is(err, fs.ErrExist) { // then it is there twice, which look will say
				m.t.Fatal(err)
			}
		}
	}
}

// messages are all that are in new/ and cur/ below the home.
func (m *machine) messages() map[string]string {
	out := map[string]string{}
	m.walk(m.disk.Process("look"), m.p.home, out)
	return out
}

func (m *machine) walk(fsys durable.FS, dir string, out map[string]string) {
	names, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		st, err := fsys.Stat(path)
		if err != nil {
			m.t.Fatal(err)
		}
		if base := filepath.Base(dir); st.IsDir() {
			m.walk(fsys, path, out)
		} else if base == "new" || base == "cur" {
			f, err := fsys.Open(path)
			if err != nil {
				m.t.Fatal(err)
			}
			b := make([]byte, st.Size())
			if _, err := f.ReadAt(b, 0); err != nil {
				m.t.Fatal(err)
			}
			_ = f.Close()
			out[path] = string(b)
		}
	}
}

// run tries until all is recorded, cuts the power once more, and says what is wrong then.
func (m *machine) run(want []string) error {
	for round := 0; ; round++ {
		if round == 20 {
			return errors.New("it does not come to an end")
		}
		open := false
		for i := 0; i < len(m.steps); i++ {
			if s := m.steps[i]; !s.done {
				m.try(s)
				open = true
			}
			if m.reader && m.rng.IntN(2) == 0 {
				m.read()
			}
		}
		if !open {
			break
		}
	}
	m.disk.Hook = nil
	if err := m.look(want); err != nil {
		return err
	}
	m.journal()
	m.restart()
	if err := m.look(want); err != nil {
		return fmt.Errorf("after a power loss: %w", err)
	}
	return nil
}

// look says what is wrong in the mailboxes.
func (m *machine) look(want []string) error {
	got := map[string]int{}
	for path, content := range m.messages() {
		if content != text {
			return fmt.Errorf("%s holds %q", path, content)
		}
		got[strings.TrimPrefix(filepath.Dir(filepath.Dir(path)), m.p.home+"/")]++
	}
	for _, dir := range want {
		if got[dir] != 1 {
			return fmt.Errorf("it is in %s %d times: %v", dir, got[dir], got)
		}
		delete(got, dir)
	}
	if len(got) > 0 {
		return fmt.Errorf("it is where nobody wants it: %v", got)
	}
	return nil
}

// crashAt stops the world at operation n, and again that many operations later.
func (m *machine) crashAt(n, again int, power bool) {
	m.disk.Hook = func(op simdisk.Op) error {
		if op.Proc != "deliver-local" || op.Seq < n {
			return nil
		}
		if m.crashed, m.killed = power, !power; power {
			m.disk.PowerOff()
		} else {
			m.disk.KillLocked(op.Proc)
		}
		if n, again = op.Seq+again, 0; n == op.Seq {
			m.disk.Hook = nil
		}
		return simdisk.ErrDead
	}
}

// TestOnceWhateverIsKilledAndWhen stops the deliveries of one message at each operation on the disk, by the death of the process
// and by a power loss, with answers that reach nobody and readers at work, and delivers again: in the end the message is once in
// each Maildir that ~/.forward names.
func TestOnceWhateverIsKilledAndWhen(t *testing.T) {
	seeds := uint64(2)
	if os.Getenv("POSTHOUSE_CRASH") == "full" {
		seeds = 60
	}
	for name, c := range map[string]struct {
		forward string
		want    [2][]string // with an even seed, and with an odd one, where there is a folder for the extension
	}{
		"no ~/.forward":  {"", [2][]string{{"Maildir"}, {"Maildir/.lists"}}},
		"three Maildirs": {"\\bob\n~/Maildir/.copy/, ~/other/\n", [2][]string{{"Maildir", "Maildir/.copy", "other"}, {"Maildir/.lists", "Maildir/.copy", "other"}}},
	} {
		p := home(t)
		if c.forward != "" {
			p.write(t, ".forward", c.forward)
		}
		runs := 0
		for seed := range seeds {
			whole := newMachine(t, p, seed)
			first := whole.disk.Ops()
			if err := whole.run(c.want[seed%2]); err != nil {
				t.Fatalf("%s: without a crash: %v", name, err)
			}
			for n := first + 1; n <= whole.disk.Ops()+1; n++ {
				for kind := range 8 { // the last operation is beyond the end: nothing but answers get lost
					m := newMachine(t, p, seed)
					m.reader = kind&2 != 0
					m.lost = kind >> 2 * (1 + n%3)
					m.crashAt(n, n%11, kind&1 == 0)
					if err := m.run(c.want[seed%2]); err != nil {
						t.Fatalf("%s: seed %d, operation %d, kind %d: %v", name, seed, n, kind, err)
					}
					runs++
				}
			}
		}
		t.Logf("%s: %d runs", name, runs)
	}
}

// TestNothingIsSaidOfWhatMayBeLost has each sync fail: the delivery counts only when it lasts.
func TestNothingIsSaidOfWhatMayBeLost(t *testing.T) {
	p := home(t)
	for n, failed := 1, true; failed; n++ {
		m := newMachine(t, p, 0)
		syncs := 0
		failed = false
		m.disk.Hook = func(op simdisk.Op) error {
			if op.Proc != "deliver-local" || op.Name != "sync" && op.Name != "syncdir" {
				return nil
			}
			if syncs++; syncs == n {
				failed = true
				return syscall.EIO
			}
			return nil
		}
		m.try(m.steps[0])
		if m.steps[0].done == failed {
			t.Errorf("sync %d: recorded %v, failed %v", n, m.steps[0].done, failed)
		}
		if err := m.run([]string{"Maildir"}); err != nil {
			t.Errorf("sync %d: %v", n, err)
		}
	}
}

// paused does something before its process's operation n.
type paused struct {
	durable.FS
	n  int
	do func()
}

func (f *paused) step() {
	if f.n--; f.n == 0 {
		f.do()
	}
}

func (f *paused) Create(path string, mode fs.FileMode) (durable.File, error) {
	f.step()
	file, err := f.FS.Create(path, mode)
	return pausedFile{file, f}, err
}
func (f *paused) Mkdir(path string, mode fs.FileMode) error {
	f.step()
	return f.FS.Mkdir(path, mode)
}
func (f *paused) RenameNoReplace(from, to string) error {
	f.step()
	return f.FS.RenameNoReplace(from, to)
}
func (f *paused) SyncDir(path string) error             { f.step(); return f.FS.SyncDir(path) }
func (f *paused) ReadDir(path string) ([]string, error) { f.step(); return f.FS.ReadDir(path) }

type pausedFile struct {
	durable.File
	fs *paused
}

func (f pausedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.step()
	return f.File.WriteAt(p, off)
}
func (f pausedFile) Lock() error { f.fs.step(); return f.File.Lock() }
func (f pausedFile) Sync() error { f.fs.step(); return f.File.Sync() }

// TestOnceThoughAnEarlierProcessGoesOn has a process that its queue-runner did not outlive stop at each of its operations, and go on
// at each operation of the process that the next queue-runner has started, or behind it; and a reader who is quicker than both.
func TestOnceThoughAnEarlierProcessGoesOn(t *testing.T) {
	p := home(t)
	for seed := range uint64(2) {
		want := [][]string{{"Maildir"}, {"Maildir/.lists"}}[seed]
		for n, more := 1, true; more; n++ {
			for k, again := 1, true; again; k++ {
				m := newMachine(t, p, seed)
				more, again = m.overtake(n, k)
				if err := m.run(want); err != nil {
					t.Fatalf("seed %d, operation %d of the first, %d of the second: %v", seed, n, k, err)
				}
			}
		}
	}
}

// overtake stops a first process before its operation n, and has it go on before operation k of a second one, or when that has
// ended. It says whether either came so far.
func (m *machine) overtake(n, k int) (stopped, overtaken bool) {
	s := m.steps[0]
	first, d := m.p, s.d
	stop, goOn, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	first.fs = &paused{m.disk.Process("first"), n, func() { close(stop); <-goOn }}
	first.wanted = func() error {
		select {
		case <-stop:
			return errors.New("nobody is there")
		default:
			return nil
		}
	}
	go func() {
		defer close(end)
		first.deliver(m.t.Context(), d, letterOf(m.t, text)) // nobody hears what becomes of it
	}()
	s.d.Look = true
	select {
	case <-stop:
	case <-end:
		return false, false
	}
	proceed := func() {
		close(goOn)
		<-end
		for path, content := range m.messages() {
			if content != text {
				m.t.Errorf("operation %d of the first, %d of the second: a reader sees %q in %s", n, k, content, path)
			}
		}
		m.read()
	}
	m.wrap = func(f durable.FS) durable.FS {
		return &paused{f, k, func() { overtaken = true; proceed() }}
	}
	m.try(s)
	m.wrap = nil
	if !overtaken {
		m.read()
		proceed()
	}
	return true, overtaken
}
