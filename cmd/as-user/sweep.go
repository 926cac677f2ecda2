package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxRounds bounds the hunt for processes that make others as fast as they are killed.
const maxRounds = 2000

// sweep kills what jobs of a user have left behind: processes that have gone into a session of their own, and whose parents
// have ended, are children of this one now. It returns how many they were.
func (s *server) sweep(uid uint32) (killed int, err error) {
	for range maxRounds {
		orphans, err := s.orphans(uid)
		if err != nil || len(orphans) == 0 {
			return killed, err
		}
		for _, pid := range orphans {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for _, pid := range orphans {
			var status unix.WaitStatus
			for {
				if _, err := unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
					break
				}
			}
		}
		killed += len(orphans)
	}
	return killed, fmt.Errorf("processes of uid %d come faster than they can be killed", uid)
}

// orphans lists the children of this process that run as a user and that it has not started itself. Nobody else waits for
// them, so their ids stay theirs.
func (s *server) orphans(uid uint32) ([]int, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []int
	for _, e := range names {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || s.jobs[pid] || parent(pid) != os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+e.Name(), &st) == nil && (st.Uid == uid || st.Uid == 0 && isZombie(pid)) {
			list = append(list, pid)
		}
	}
	return list, nil
}

// parent reads the process's parent from /proc/PID/stat, behind its name, which may hold anything; -1 where it is gone.
func parent(pid int) int {
	_, ppid := stat(pid)
	return ppid
}

// isZombie says that a process has ended: its folder in /proc may be root's then.
func isZombie(pid int) bool {
	state, _ := stat(pid)
	return state == "Z"
}

func stat(pid int) (state string, ppid int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", -1
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return "", -1
	}
	if ppid, err = strconv.Atoi(string(fields[1])); err != nil {
		return "", -1
	}
	return string(fields[0]), ppid
}
