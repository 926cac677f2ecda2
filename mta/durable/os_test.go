package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// folders are places on this machine to try: the usual temporary folder, and one in memory where there is one.
func folders(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"tmp": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "durable"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		out["memory"] = dir
	}
	return out
}

// onEach runs a test in each of them.
func onEach(t *testing.T, test func(t *testing.T, fsys durable.FS, dir string)) {
	for name, dir := range folders(t) {
		t.Run(name, func(t *testing.T) { test(t, durable.OS{}, dir) })
	}
}

func create(t *testing.T, fsys durable.FS, path, content string) durable.File {
	t.Helper()
	f, err := fsys.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestALockBelongsToOneOpenFile(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		path := filepath.Join(dir, "f")
		first := create(t, fsys, path, "")
		if err := first.Lock(); err != nil {
			t.Fatal(err)
		}
		if err := first.Lock(); err != nil {
			t.Errorf("a second time by the same file: got %v", err)
		}
		second, err := fsys.Open(path) // for reading: enough for a lock
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		var pe *fs.PathError
		if err := second.Lock(); !errors.Is(err, durable.ErrLocked) || !errors.As(err, &pe) || pe.Path != path {
			t.Errorf("got %v, want ErrLocked and the path", err)
		}
		if err := fsys.Rename(path, path+"2"); err != nil {
			t.Fatal(err)
		}
		if err := second.Lock(); !errors.Is(err, durable.ErrLocked) {
			t.Errorf("after a rename: got %v, want ErrLocked", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := second.Lock(); err != nil {
			t.Errorf("after Close of the first: got %v", err)
		}
		if err := first.Lock(); err == nil {
			t.Error("Lock of a closed file: got no error")
		}
	})
}

func TestRenameNoReplaceReplacesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		create(t, fsys, a, "one")
		create(t, fsys, b, "two")
		if err := fsys.RenameNoReplace(a, b); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want ErrExist", err)
		}
		if got := content(t, a) + content(t, b); got != "onetwo" {
			t.Errorf("got %q, want both as they were", got)
		}
		if err := fsys.RenameNoReplace(a, filepath.Join(dir, "c")); err != nil {
			t.Error(err)
		}
		if err := fsys.RenameNoReplace(a, filepath.Join(dir, "d")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
		if err := fsys.Rename(filepath.Join(dir, "c"), b); err != nil || content(t, b) != "one" {
			t.Errorf("Rename: got %v and %q, want it replaced", err, content(t, b))
		}
	})
}

func TestAllocateMakesRoomAndKeepsWhatIsThere(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "abc")
		for _, c := range []struct{ ask, want int64 }{{1 << 16, 1 << 16}, {10, 1 << 16}} {
			if err := f.Allocate(c.ask); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Size(); err != nil || got != c.want {
				t.Errorf("Allocate(%d): got size %d, %v; want %d", c.ask, got, err, c.want)
			}
		}
		b := make([]byte, 5)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "abc\x00\x00" {
			t.Errorf("got %q, %v", b, err)
		}
		if err := f.Truncate(2); err != nil {
			t.Fatal(err)
		}
		if n, err := f.ReadAt(b, 0); n != 2 || err != io.EOF || string(b[:2]) != "ab" {
			t.Errorf("got %d octets %q, %v; want 2 and EOF", n, b[:n], err)
		}
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullDiskSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "")
		if err := f.Allocate(1 << 55); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v, want ENOSPC or EFBIG", err)
		}
		if free, err := fsys.Free(dir); err != nil || free == 0 {
			t.Errorf("Free: got %d, %v", free, err)
		}
		if _, err := fsys.Free(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Free: got %v, want ErrNotExist", err)
		}
	})
}

func TestFilesAndFolders(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		sub, file := filepath.Join(dir, "sub"), filepath.Join(dir, "sub", "f")
		if _, err := fsys.Create(file, 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Create without its folder: got %v", err)
		}
		if err := fsys.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Mkdir(sub, 0o700); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Mkdir twice: got %v", err)
		}
		create(t, fsys, file, "x")
		if _, err := fsys.Create(file, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create of what is there: got %v", err)
		}
		if st, err := fsys.Stat(file); err != nil || st.Mode().Perm() != 0o600 || st.Size() != 1 {
			t.Errorf("Stat: got %v, %v", st, err)
		}
		if err := errors.Join(fsys.SyncDir(sub), fsys.SyncFS(file)); err != nil {
			t.Error(err)
		}
		if names, err := fsys.ReadDir(sub); err != nil || !slices.Equal(names, []string{"f"}) {
			t.Errorf("ReadDir: got %v, %v", names, err)
		}
		if err := fsys.Remove(sub); err == nil {
			t.Error("Remove of a folder: got no error")
		}
		if err := fsys.Remove(file); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"Remove": fsys.Remove(file), "SyncDir": fsys.SyncDir(file), "SyncFS": fsys.SyncFS(file),
		} {
			var pe *fs.PathError
			if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pe) || pe.Path != file {
				t.Errorf("%s of nothing: got %v, want ErrNotExist and the path", name, err)
			}
		}
	})
}

// What others have put where a file is wanted must not make us wait.
func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		path := func(name string) string { return filepath.Join(dir, name) }
		ln, err := net.Listen("unix", path("socket"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if err := errors.Join(os.Mkdir(path("folder"), 0o700), syscall.Mkfifo(path("fifo"), 0o600)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"folder", "fifo", "socket"} {
			for op, open := range map[string]func(string) (durable.File, error){"Open": fsys.Open, "OpenWrite": fsys.OpenWrite} {
				_, err := open(path(name))
				var pe *fs.PathError
				if !errors.Is(err, durable.ErrNoFile) || !errors.As(err, &pe) || pe.Path != path(name) {
					t.Errorf("%s of a %s: got %v, want ErrNoFile and the path", op, name, err)
				}
			}
		}
	})
}

// A symbolic link in a folder that others may write to must not lead elsewhere.
func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
		create(t, fsys, target, "secret")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Open(link); !errors.Is(err, durable.ErrNoFile) {
			t.Errorf("Open: got %v, want ErrNoFile", err)
		}
		if _, err := fsys.OpenWrite(link); !errors.Is(err, durable.ErrNoFile) {
			t.Errorf("OpenWrite: got %v, want ErrNoFile", err)
		}
		if _, err := fsys.Create(link, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create: got %v, want ErrExist", err)
		}
		if st, err := fsys.Stat(link); err != nil || st.Mode().Type() != fs.ModeSymlink {
			t.Errorf("Stat: got %v, %v; want the link itself", st, err)
		}
		if err := fsys.Remove(link); err != nil || content(t, target) != "secret" {
			t.Errorf("Remove: got %v, want the link alone gone", err)
		}
	})
}

func TestOpenIsForReadingAlone(t *testing.T) {
	onEach(t, func(t *testing.T, fsys durable.FS, dir string) {
		path := filepath.Join(dir, "f")
		create(t, fsys, path, "x")
		r, err := fsys.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.WriteAt([]byte("y"), 0); err == nil {
			t.Error("WriteAt: got no error")
		}
		if err := r.Sync(); err != nil { // start-up syncs what it only reads
			t.Errorf("Sync: got %v", err)
		}
		w, err := fsys.OpenWrite(path)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.WriteAt([]byte("y"), 1); err != nil || content(t, path) != "xy" {
			t.Errorf("WriteAt: got %v and %q, want xy", err, content(t, path))
		}
	})
}

func TestDeviceTellsFilesystemsApart(t *testing.T) {
	seen := map[uint64]string{}
	for name, dir := range folders(t) {
		dev, local, err := durable.OS{}.Device(dir)
		if err != nil {
			t.Fatal(err)
		}
		if name == "memory" && !local {
			t.Errorf("%s: tmpfs is not taken for local", dir)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(dir, &st); err != nil || st.Dev != dev {
			t.Errorf("%s: got device %d, want %d (%v)", dir, dev, st.Dev, err)
		}
		seen[dev] = dir
	}
	if _, local, err := (durable.OS{}).Device("/proc"); err != nil || local {
		t.Errorf("/proc: got local %v, %v; want false", local, err)
	}
	if _, _, err := (durable.OS{}).Device("/nonexistent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}
