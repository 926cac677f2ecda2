package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

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
	var packages []string
	for _, name := range []string{"smtpd", "queue-runner", "pop3d", "posthouse", "sendmail", "filter", "filter-run", "as-user", "deliver-local"} {
		packages = append(packages, "../../cmd/"+name)
	}
	if err := mtatest.BuildInto(dir, packages...); err != nil {
		fmt.Fprintln(os.Stderr, err)
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
