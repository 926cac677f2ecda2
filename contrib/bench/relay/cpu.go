package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux.
const tick = time.Second / 100

// treeCPU is the processor time of a process, of its descendants, and of those of them that have ended.
func treeCPU(pid int) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	ticks, parent := map[int]int64{}, map[int]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		id, rest, _ := strings.Cut(string(b), " ")
		if i := strings.LastIndexByte(rest, ')'); i >= 0 {
			rest = rest[i+1:]
		}
		f := strings.Fields(rest) // state, ppid, ...; utime, stime, cutime and cstime are the 12th to 15th
		n, err := strconv.Atoi(id)
		if err != nil || len(f) < 15 {
			return 0, fmt.Errorf("%s: not what proc(5) describes", path)
		}
		if parent[n], err = strconv.Atoi(f[1]); err != nil {
			return 0, err
		}
		for _, s := range f[11:15] {
			t, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks[n] += t
		}
	}
	if _, there := ticks[pid]; !there {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	var sum int64
	for id := range ticks {
		for up := id; up > 1; up = parent[up] {
			if up == pid {
				sum += ticks[id]
				break
			}
		}
	}
	return time.Duration(sum) * tick, nil
}
