package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the kernel's unit of processor time in /proc, USER_HZ of proc(5).
const tick = 10 * time.Millisecond

// processes are the server's process and all below it.
func (s *server) processes() []int {
	var roots []int
	if s.cmd != nil {
		roots = append(roots, s.cmd.Process.Pid)
	}
	s.mu.Lock()
	for c := range s.children {
		roots = append(roots, c.Process.Pid)
	}
	s.mu.Unlock()
	parent := map[int]int{}
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if f := stat(pid); len(f) > 1 {
				parent[pid], _ = strconv.Atoi(f[1])
			}
		}
	}
	all, seen := roots, map[int]bool{}
	for i := 0; i < len(all); i++ {
		seen[all[i]] = true
		for pid, p := range parent {
			if p == all[i] && !seen[pid] {
				all = append(all, pid)
			}
		}
	}
	return all
}

// stat are the fields of /proc/PID/stat behind the name.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// processor is the time that all of them, and those that have ended, have spent.
func (s *server) processor() time.Duration {
	s.mu.Lock()
	sum := s.spent
	s.mu.Unlock()
	for _, pid := range s.processes() {
		f := stat(pid)
		if len(f) < 15 {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, and those of children that were waited for
			n, _ := strconv.ParseInt(f[i], 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// memory is the memory of all of them, what they share counted once: the sum of Pss, in octets.
func (s *server) memory() (sum int64) {
	for _, pid := range s.processes() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for l := bufio.NewScanner(f); l.Scan(); {
			if v, ok := strings.CutPrefix(l.Text(), "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
				sum += n << 10
			}
		}
		f.Close()
	}
	return sum
}
