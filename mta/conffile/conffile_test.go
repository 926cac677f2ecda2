package conffile_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

const limit = 1 << 10

func TestWhatIsNoFileIsNeverWaitedFor(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fifo, socket, loop := at("fifo"), at("socket"), at("loop")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink(fifo, at("link")), os.Symlink(loop, loop)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		fifo:               fifo + " is a FIFO, not a regular file; allowed: a regular file, or a link to one",
		at("link"):         " is a FIFO, not a regular file;",
		dir:                " is a folder, not a regular file;",
		socket:             " is a socket, not a regular file;",
		"/dev/zero":        " is a device, not a regular file;",
		"/dev/tty":         " is a device, not a regular file;",
		at("no such file"): "open " + at("no such file") + ": no such file or directory",
		loop:               "too many levels of symbolic links",
		"":                 "no such file or directory",
	} {
		_, st, err := conffile.Read(path, limit)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%q): %v, want %q", path, err, want)
		}
		if irregular := strings.Contains(want, "regular file"); errors.Is(err, conffile.ErrIrregular) != irregular || irregular != (st != nil) {
			t.Errorf("Read(%q): ErrIrregular %v, state %v; want %v for both", path, errors.Is(err, conffile.ErrIrregular), st != nil, irregular)
		}
	}
	if _, _, err := conffile.Open(at("no such file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of what is not there: %v, want fs.ErrNotExist", err)
	}
}

func TestAFileIsReadUpToItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, row := range []struct {
		octets, limit int64
		want          string // "": it is read
	}{
		{limit + 1, limit, path + " is larger than 1 KB; allowed: a file of up to that size"},
		{1 << 30, 1 << 20, path + " is larger than 1 MB; allowed: a file of up to that size"}, // sparse: it must not be read whole
		{1 << 30, 100, path + " is larger than 100 octets; allowed: a file of up to that size"},
		{1, 0, path + " is larger than 0 MB; allowed: a file of up to that size"},
		{limit, limit, ""},
		{0, limit, ""},
	} {
		if err := errors.Join(os.WriteFile(path, nil, 0o640), os.Truncate(path, row.octets)); err != nil {
			t.Fatal(err)
		}
		b, st, err := conffile.Read(path, row.limit)
		if row.want != "" {
			if !errors.Is(err, conffile.ErrSize) || err.Error() != row.want {
				t.Errorf("%d octets of %d: %v, want %q", row.octets, row.limit, err, row.want)
			}
			continue
		}
		if err != nil || int64(len(b)) != row.octets || st.Size() != row.octets || st.Mode().Perm() != 0o640 {
			t.Errorf("%d octets of %d: %d read, %v, %v", row.octets, row.limit, len(b), st, err)
		}
	}
}

// A file of /proc says that it is empty, and is not.
func TestAFileThatDoesNotTellItsSizeIsBoundedToo(t *testing.T) {
	if _, _, err := conffile.Read("/proc/self/status", 10); !errors.Is(err, conffile.ErrSize) {
		t.Errorf("got %v, want ErrSize", err)
	}
}
