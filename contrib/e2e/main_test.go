package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// patience is how long a test waits for what should be there at once, before it fails.
const patience = 3 * time.Minute

// bin is the folder of the programs. TestMain sets it, and nothing changes it.
var bin string

// together is how many tests run at once at the least: they wait for timeouts more than for a processor.
const together = 6

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == f.DefValue && runtime.GOMAXPROCS(0) < together {
		_ = flag.Set(f.Name, fmt.Sprint(together)) // a number, so no error
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "./cmd/smtpd", "./cmd/queue-runner", "./cmd/pop3d", "./cmd/posthouse", "./cmd/sendmail", "./cmd/filter", "./cmd/filter-run", "./cmd/as-user", "./cmd/deliver-local")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needRoot is for what only root may do: mounting.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		mtatest.Lacking(t, "needs root, to mount")
	}
}

// write makes a file, and the folder that it is in.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what no log tells of, and says why it is not so yet.
func eventually(t testing.TB, ok func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still after %v: %v", patience, err)
		}
	}
}
