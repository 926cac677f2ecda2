package simdisk_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

// must stops the test at an error of its preparations.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys durable.FS, path, content string) durable.File {
	t.Helper()
	f, err := fsys.Create(path, 0o600)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	return f
}

// state shows a file: its content, or "-" where there is none.
func state(t *testing.T, fsys durable.FS, path string) string {
	t.Helper()
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	must(t, err)
	n, err := f.Size()
	must(t, err)
	b := make([]byte, n)
	if got, err := f.ReadAt(b, 0); int64(got) != n {
		t.Fatal(err)
	}
	return string(b)
}

// outcomes runs a story on many disks, cuts the power, and returns every state of the paths that came of it.
func outcomes(t *testing.T, story func(d *simdisk.Disk, p *simdisk.View), paths ...string) []string {
	t.Helper()
	seen := map[string]bool{}
	for seed := range uint64(400) {
		d := simdisk.New("a", "b")
		story(d, d.Process("p"))
		d.Hook = nil
		d.PowerLoss(rand.New(rand.NewPCG(seed, 1)))
		var all []string
		for _, path := range paths {
			all = append(all, state(t, d.Process("p"), path))
		}
		seen[strings.Join(all, "|")] = true
	}
	var out []string
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func TestWhatAPowerLossMayLeave(t *testing.T) {
	for name, c := range map[string]struct {
		story func(d *simdisk.Disk, p *simdisk.View)
		paths []string
		want  []string
	}{
		"a name and bytes without any sync": {func(_ *simdisk.Disk, p *simdisk.View) { create(t, p, "/a/f", "xy") },
			[]string{"/a/f"}, []string{"", "\x00\x00", "-", "x", "xy"}},
		"a synced file without its name": {func(_ *simdisk.Disk, p *simdisk.View) { must(t, create(t, p, "/a/f", "xy").Sync()) },
			[]string{"/a/f"}, []string{"-", "xy"}},
		"a synced name without its bytes": {func(_ *simdisk.Disk, p *simdisk.View) { create(t, p, "/a/f", "xy"); must(t, p.SyncDir("/a")) },
			[]string{"/a/f"}, []string{"", "\x00\x00", "x", "xy"}},
		"file and name synced": {func(_ *simdisk.Disk, p *simdisk.View) { must(t, create(t, p, "/a/f", "xy").Sync(), p.SyncDir("/a")) },
			[]string{"/a/f"}, []string{"xy"}},
		"the whole filesystem synced": {func(_ *simdisk.Disk, p *simdisk.View) { create(t, p, "/a/f", "xy"); must(t, p.SyncFS("/a")) },
			[]string{"/a/f"}, []string{"xy"}},
		"another filesystem synced": {func(_ *simdisk.Disk, p *simdisk.View) { must(t, create(t, p, "/a/f", "xy").Sync(), p.SyncFS("/b")) },
			[]string{"/a/f"}, []string{"-", "xy"}},
		"a rename is whole or not at all": {func(_ *simdisk.Disk, p *simdisk.View) {
			create(t, p, "/a/f", "1")
			must(t, p.SyncFS("/a"), p.Rename("/a/f", "/a/g"))
		}, []string{"/a/f", "/a/g"}, []string{"-|1", "1|-"}},
		"a rename over another file too": {func(_ *simdisk.Disk, p *simdisk.View) {
			create(t, p, "/a/f", "1")
			create(t, p, "/a/g", "2")
			must(t, p.SyncFS("/a"), p.Rename("/a/f", "/a/g"))
		}, []string{"/a/f", "/a/g"}, []string{"-|1", "1|2"}},
		"a synced rename": {func(_ *simdisk.Disk, p *simdisk.View) {
			create(t, p, "/a/f", "1")
			must(t, p.SyncFS("/a"), p.Rename("/a/f", "/a/g"), p.SyncDir("/a"))
		}, []string{"/a/f", "/a/g"}, []string{"-|1"}},
		"unlinks in any order": {func(_ *simdisk.Disk, p *simdisk.View) {
			create(t, p, "/a/f", "1")
			create(t, p, "/a/g", "2")
			must(t, p.SyncFS("/a"), p.Remove("/a/f"), p.Remove("/a/g"))
		}, []string{"/a/f", "/a/g"}, []string{"-|-", "-|2", "1|-", "1|2"}},
		"writes in any order": {func(_ *simdisk.Disk, p *simdisk.View) {
			f := create(t, p, "/a/f", "..")
			must(t, p.SyncFS("/a"))
			for i := range int64(2) {
				_, err := f.WriteAt([]byte("x"), i)
				must(t, err)
			}
		}, []string{"/a/f"}, []string{"..", ".x", "x.", "xx"}},
		"room that was allocated": {func(_ *simdisk.Disk, p *simdisk.View) {
			f := create(t, p, "/a/f", "x")
			must(t, p.SyncFS("/a"), f.Allocate(3))
		}, []string{"/a/f"}, []string{"x", "x\x00\x00"}},
		"a file cut short": {func(_ *simdisk.Disk, p *simdisk.View) {
			f := create(t, p, "/a/f", "xyz")
			must(t, p.SyncFS("/a"), f.Truncate(1))
		}, []string{"/a/f"}, []string{"x", "xyz"}},
		"a failed sync, though the next succeeds": {func(d *simdisk.Disk, p *simdisk.View) {
			f := create(t, p, "/a/f", ".")
			must(t, p.SyncFS("/a"))
			_, err := f.WriteAt([]byte("x"), 0)
			must(t, err)
			failing(t, d, f.Sync)
			must(t, f.Sync(), p.SyncFS("/a"))
		}, []string{"/a/f"}, []string{"."}},
	} {
		if got := outcomes(t, c.story, c.paths...); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// failing calls a sync that the disk refuses.
func failing(t *testing.T, d *simdisk.Disk, sync func() error) {
	t.Helper()
	d.Hook = func(simdisk.Op) error { return syscall.EIO }
	if err := sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	d.Hook = nil
}

func TestAFailedSyncFSIsReportedOnceByEachFileThatItLost(t *testing.T) {
	d := simdisk.New("a")
	p := d.Process("p")
	f, g := create(t, p, "/a/f", "x"), create(t, p, "/a/g", "y")
	must(t, g.Sync())
	failing(t, d, func() error { return p.SyncFS("/a") })
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the file that it lost: got %v, want EIO", err)
	}
	if err := f.Sync(); err != nil {
		t.Errorf("a second time: got %v", err)
	}
	if err := g.Sync(); err != nil {
		t.Errorf("a file that was synced before: got %v", err)
	}
	if got := state(t, p, "/a/f"); got != "x" {
		t.Errorf("the cache shows %q, want x still", got)
	}
}

func TestLocksEndWithTheirProcess(t *testing.T) {
	d := simdisk.New("a")
	p := d.Process("p")
	f := create(t, p, "/a/f", "")
	must(t, f.Lock(), f.Lock())
	other, err := d.Process("q").Open("/a/f")
	must(t, err)
	if err := other.Lock(); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	d.Kill("p")
	if err := other.Lock(); err != nil {
		t.Errorf("after the other's death: got %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("a dead process writes: got %v", err)
	}
	if err := p.Mkdir("/a/d", 0o700); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("a dead process makes a folder: got %v", err)
	}
	must(t, other.Close(), d.Process("p").Mkdir("/a/d", 0o700))
	third, err := d.Process("p").Open("/a/f")
	must(t, err)
	must(t, third.Lock())
}

func TestPowerOffStopsEverybodyUntilThePowerIsBack(t *testing.T) {
	d := simdisk.New("a")
	p := d.Process("p")
	d.Hook = func(op simdisk.Op) error {
		if op.Name == "sync" {
			d.PowerOff()
			return simdisk.ErrDead
		}
		return nil
	}
	f := create(t, p, "/a/f", "x")
	if err := f.Sync(); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("got %v, want ErrDead", err)
	}
	if err := d.Process("q").Mkdir("/a/d", 0o700); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("another process: got %v, want ErrDead", err)
	}
	if _, err := p.ReadDir("/a"); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("reading: got %v, want ErrDead", err)
	}
	d.Hook = nil
	d.PowerLoss(rand.New(rand.NewPCG(1, 1)))
	if err := p.Mkdir("/a/d", 0o700); !errors.Is(err, simdisk.ErrDead) {
		t.Errorf("a process of before: got %v, want ErrDead", err)
	}
	must(t, d.Process("p").Mkdir("/a/d", 0o700))
}

func TestOperationsAreCountedAndMayFail(t *testing.T) {
	d := simdisk.New("a", "b")
	d.Now = func() time.Time { return time.Unix(5, 0) }
	p := d.Process("p")
	var got []string
	d.Hook = func(op simdisk.Op) error {
		if op.Seq != len(got)+1 || op.Proc != "p" {
			t.Errorf("got %+v after %d operations", op, len(got))
		}
		got = append(got, op.Name)
		return nil
	}
	f := create(t, p, "/a/f", "x")
	must(t, f.Allocate(2), f.Truncate(1), f.Sync(), p.Mkdir("/a/d", 0o700), p.RenameNoReplace("/a/f", "/a/d/f"), p.SyncDir("/a/d"), p.SyncFS("/a"))
	if st, err := p.Stat("/a/d/f"); err != nil || st.Size() != 1 || !st.ModTime().Equal(time.Unix(5, 0)) || st.Name() != "f" || st.IsDir() {
		t.Errorf("got %v, %v", st, err)
	}
	must(t, p.Remove("/a/d/f"))
	if want := "create write allocate truncate sync mkdir rename syncdir syncfs remove"; strings.Join(got, " ") != want || d.Ops() != len(got) {
		t.Errorf("got %v, %d operations; want %s", got, d.Ops(), want)
	}
	d.Hook = func(simdisk.Op) error { return syscall.ENOSPC }
	if _, err := p.Create("/a/g", 0o600); !errors.Is(err, syscall.ENOSPC) || state(t, p, "/a/g") != "-" {
		t.Errorf("got %v, want ENOSPC and no file", err)
	}
}

func TestErrorsAreThoseOfARealDisk(t *testing.T) {
	d := simdisk.New("a", "b")
	p := d.Process("p")
	create(t, p, "/a/f", "x")
	create(t, p, "/a/g", "y")
	_, errCreate := p.Create("/a/f", 0o600)
	_, errNoFolder := p.Create("/a/none/f", 0o600)
	_, errOpen := p.Open("/a/none")
	r, err := p.Open("/a/f")
	must(t, err)
	_, errWrite := r.WriteAt([]byte("x"), 0)
	_, errReadDir := p.ReadDir("/a/f")
	for name, c := range map[string]struct{ got, want error }{
		"create twice":        {errCreate, fs.ErrExist},
		"create in nothing":   {errNoFolder, fs.ErrNotExist},
		"open nothing":        {errOpen, fs.ErrNotExist},
		"write when reading":  {errWrite, fs.ErrClosed},
		"read a file's names": {errReadDir, syscall.ENOTDIR},
		"mkdir twice":         {p.Mkdir("/a/f", 0o700), fs.ErrExist},
		"rename nothing":      {p.Rename("/a/none", "/a/x"), fs.ErrNotExist},
		"rename and replace":  {p.RenameNoReplace("/a/f", "/a/g"), fs.ErrExist},
		"rename elsewhere":    {p.Rename("/a/f", "/b/f"), syscall.EXDEV},
		"remove nothing":      {p.Remove("/a/none"), fs.ErrNotExist},
		"sync nothing":        {p.SyncDir("/a/none"), fs.ErrNotExist},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
	devA, _, errA := p.Device("/a/f")
	devB, _, errB := p.Device("/b")
	if must(t, errA, errB); devA == devB {
		t.Errorf("two filesystems have the device %d", devA)
	}
}
