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

// killSession ends all processes of a session, whose leader may have ended: what a filter has started, in whatever process
// groups. Mostly there is nobody left.
func killSession(id int) {
	for range killRounds {
		found := false
		for _, pid := range inSession(id) {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by now
		}
		if !found {
			return
		}
	}
}

// inSession lists a session's processes that have not ended, as proc(5) has them.
func inSession(id int) (pids []int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" ")) // the name before may hold anything
		f := bytes.Fields(rest)                                                 // state, ppid, pgrp, session
		if len(f) < 4 || string(f[3]) != strconv.Itoa(id) || f[0][0] == 'Z' || f[0][0] == 'X' {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
