package mtatest

import (
	"os"
	"os/exec"
	"testing"
)

// Lacking ends a test for want of what it says: the test is skipped, and fails where CI=true, for there all is to be tested.
func Lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Need returns the path of a program of others, which may be one of /usr/sbin that a user's PATH does not have. A test ends
// without it, as Lacking says.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if path, e := exec.LookPath("/usr/sbin/" + program); e == nil {
		return path
	}
	Lacking(t, "%v", err)
	return ""
}
