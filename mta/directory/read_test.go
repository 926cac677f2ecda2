package directory

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A file that was changed a moment before it was read is read once more: a second change may leave no trace in its times.
func TestAFileThatHasJustChangedHasNoState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	changed := time.Unix(st.Ctim.Unix())
	for age, young := range map[time.Duration]bool{-time.Hour: false, 0: true, unsettled - 1: true, unsettled: false, time.Hour: false} {
		synctest.Test(t, func(t *testing.T) { // its clock stands at the beginning of 2000
			time.Sleep(time.Until(changed.Add(age)))
			data, fp, err := readFile(path)
			if err != nil || string(data) != "x" {
				t.Fatalf("got %q, %v", data, err)
			}
			want := fingerprintOf(&st)
			if young {
				want = fingerprint{}
			}
			if fp != want {
				t.Errorf("at the age of %v: got %+v, want %+v", age, fp, want)
			}
		})
	}
}
