package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// killRounds bounds how often is looked for processes that were started meanwhile.
const killRounds = 5

// killStarted ends what a filter has started and left behind, in whatever process groups: it has the folder of that
// filter's process in its environment, which no other has. A session would be simpler to find, but Linux schedules the
// processes of each session as one (sched(7), autogroup), and under load each call would wait for two turns.
func killStarted(dir string) {
	for range killRounds {
		found := false
		for _, pid := range startedBy(dir) {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by now
		}
		if !found {
			return
		}
	}
}

// startedBy lists the processes with that folder in their environment.
func startedBy(dir string) (pids []int) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	variable := []byte("\x00TMPDIR=" + dir + "\x00")
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), variable) {
			continue // it has ended, or is somebody else's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
