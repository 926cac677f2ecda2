package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sweepTime bounds the hunt for what a user's jobs have left behind. Few things outlast it: a process waits, and cannot be
// killed, for as long as a file system of the user's own (FUSE) does not answer.
// Each round takes long where there are very many.
const (
	sweepTime = 10 * time.Second
	minRounds = 5
)

// sweep kills what jobs of a user have left behind: processes that have gone into a session of their own, and whose parents
// have ended, are children of this one now, and with them goes what they have started. It returns how many they were. The
// caller holds the tenant's sweeping.
//
// They are not waited for before all of them are dead: until then they count as processes of the user, so that what forks as
// fast as it is killed comes to the user's limit.
func (s *server) sweep(uid uint32) (int, error) {
	killed, dead := map[int]bool{}, 0
	for began, round := time.Now(), 0; ; round++ {
		alive, ended, err := s.orphans(uid)
		if err == nil && len(alive) > 0 && round >= minRounds && time.Since(began) > sweepTime {
			err = fmt.Errorf("%d processes of uid %d do not end: SIGKILL has no effect, or they are made too fast", len(alive), uid)
		}
		if err != nil || len(alive) == 0 && len(ended) == dead { // where more have ended, one may have made another meanwhile
			for _, pid := range ended {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
			return len(killed), err
		}
		dead = len(ended)
		for _, p := range alive {
			killed[p.pid] = true
			p.kill()
		}
		if len(alive) > 0 {
			time.Sleep(time.Millisecond) // for them to die
		}
	}
}

// orphans lists the processes of a user that descend from this one, and from no job of it that is under way; of those that have ended,
// its own children. Nobody else waits for these, so their ids stay theirs.
func (s *server) orphans(uid uint32) (alive []process, ended []int, err error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rest []process
	for _, e := range names {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || s.jobs[pid] {
			continue
		}
		if p, ok := look(pid); ok && p.uid == uid {
			rest = append(rest, p)
		}
	}
	found := map[int]bool{os.Getpid(): true}
	for more := true; more; {
		n := len(found)
		rest = slices.DeleteFunc(rest, func(p process) bool {
			if !found[p.parent] {
				return false
			}
			found[p.pid] = true
			switch {
			case !p.ended:
				alive = append(alive, p)
			case p.parent == os.Getpid():
				ended = append(ended, p.pid)
			}
			return true
		})
		more = len(found) > n
	}
	return alive, ended, nil
}

// process is one of the machine's; born tells it from another that gets its id later.
type process struct {
	pid, parent int
	uid         uint32
	ended       bool // with all of its threads, and not waited for
	born        string
}

// look reads /proc/PID/stat, behind the name, which may hold anything; ok is false where the process is gone.
func look(pid int) (p process, ok bool) {
	folder := "/proc/" + strconv.Itoa(pid)
	var st unix.Stat_t
	b, err := os.ReadFile(folder + "/stat")
	if err != nil || unix.Stat(folder, &st) != nil {
		return p, false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return p, false
	}
	// The state is that of the first thread: a process goes on without it, and shows as a zombie all the same.
	p = process{pid: pid, uid: st.Uid, ended: string(fields[0]) == "Z" && string(fields[17]) == "1", born: string(fields[19])}
	p.parent, err = strconv.Atoi(string(fields[1]))
	return p, err == nil
}

// kill kills the process that it was when it was looked at, and no other that has its id now.
func (p process) kill() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		if err == unix.ENOSYS && p.parent == os.Getpid() { // Linux before 5.3; the id of a child stays its own
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
		return
	}
	defer unix.Close(fd)
	if now, ok := look(p.pid); ok && now.born == p.born && now.uid == p.uid {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
