package mtatest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The version of Landlock's interface that knows all that is asked for here (files, TCP, signals, abstract sockets), and the
// first Linux that has it.
const (
	landlockVersion = 6
	landlockMajor   = 6
	landlockMinor   = 12
)

// NeedLandlock ends a test where the kernel cannot do what it is about. It skips it where that is no fault: by an older Linux,
// or outside of CI. With CI=true it fails it where Linux is new enough and Landlock is off all the same. The reason is said
// in both cases; .ci/run shows it, as go test alone shows no skips.
func NeedLandlock(t *testing.T) {
	t.Helper()
	has, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno == 0 && has >= landlockVersion {
		return
	}
	why := fmt.Sprintf("version %d of its interface, and not %d", has, landlockVersion)
	switch errno {
	case 0:
	case unix.ENOSYS:
		why = "none: it was built without it, or a filter of system calls forbids it"
	case unix.EOPNOTSUPP:
		why = "none: it is off (the parameter lsm= of the kernel)"
	default:
		why = "none: " + errno.Error()
	}
	release, recent := linux()
	why = fmt.Sprintf("Linux %s has of Landlock %s", release, why)
	if recent && os.Getenv("CI") == "true" {
		t.Fatalf("%s; from %d.%d on it can have it", why, landlockMajor, landlockMinor)
	}
	t.Skip(why)
}

// linux is the release of the kernel, and whether it can have what is asked for; one that cannot be read counts as new.
func linux() (release string, recent bool) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error(), true
	}
	release = unix.ByteSliceToString(name.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return release, true
	}
	return release, major > landlockMajor || major == landlockMajor && minor >= landlockMinor
}
