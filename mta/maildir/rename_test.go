package maildir_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const withoutEnv = "POSTHOUSE_WITHOUT_RENAMEAT2"

// Some network filesystems have no renameat2, and some kernels' sandboxes no call of that name: what is renamed then replaces
// nothing either, and is at one place alone.
func TestMessagesMoveWithoutRenameat2(t *testing.T) {
	if os.Getenv(withoutEnv) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), withoutEnv+"=1")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "--- SKIP") {
			mtatest.Lacking(t, "%s", out)
		}
		if err != nil || strings.Count(string(out), "--- PASS") != 3 {
			t.Errorf("%v:\n%s\nwant three tests that pass", err, out)
		}
		return
	}
	forbidRenameat2(t)
	t.Run("to cur", TestNewMessagesMoveToCurAtLogin)
	t.Run("flags", TestRetrievedMessagesGetTheFlagSAtTheEnd)
}

// forbidRenameat2 has the kernel answer ENOSYS to it from now on, for all of this process (seccomp(2)).
func forbidRenameat2(t *testing.T) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_RENAMEAT2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // no_new_privs is a thread's, until the filter is all threads'
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.UnlockOSThread()
	if errno != 0 {
		mtatest.Lacking(t, "no seccomp here: %v", errno)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, "/nowhere", unix.AT_FDCWD, "/nowhere", 0); err != unix.ENOSYS {
		t.Fatalf("got %v, want ENOSYS", err)
	}
}
