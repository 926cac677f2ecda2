package main

import (
	"fmt"
	"strings"
)

// Bounds of a diff.
const (
	around   = 3       // unchanged lines that are shown on each side
	maxTable = 4 << 20 // products of lines that are compared one with each other; past it all are other lines
)

// edit is a line of a diff: of both, or of one alone.
type edit struct {
	mark byte // ' ', '-' or '+'
	line string
}

// diff is the unified diff of two messages, with LF line ends; "" where they are equal.
func diff(before, after []byte) string {
	a, b := lines(before), lines(after)
	all := compare(a, b)
	var out strings.Builder
	for i := 0; i < len(all); i++ {
		if all[i].mark == ' ' {
			continue
		}
		last := i
		for j := i; j < len(all) && j-last <= 2*around+1; j++ {
			if all[j].mark != ' ' {
				last = j
			}
		}
		if out.Len() == 0 {
			out.WriteString("--- as it came\n+++ as it would be delivered\n")
		}
		hunk(&out, all, max(i-around, 0), min(last+1+around, len(all)))
		i = last
	}
	return out.String()
}

func hunk(out *strings.Builder, all []edit, from, to int) {
	count := func(list []edit, but byte) (n int) {
		for _, e := range list {
			if e.mark != but {
				n++
			}
		}
		return n
	}
	a, b := count(all[:from], '+'), count(all[:from], '-')
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", a+1, count(all[from:to], '+'), b+1, count(all[from:to], '-'))
	for _, e := range all[from:to] {
		out.WriteByte(e.mark)
		out.WriteString(e.line)
		out.WriteByte('\n')
	}
}

func lines(b []byte) []string {
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// compare finds the longest common part, of what is left when both ends are equal.
func compare(a, b []string) (all []edit) {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		all = append(all, edit{' ', a[head]})
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	all = append(all, middle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, l := range a[len(a)-tail:] {
		all = append(all, edit{' ', l})
	}
	return all
}

func middle(a, b []string) (all []edit) {
	if len(a)*len(b) > maxTable {
		for _, l := range a {
			all = append(all, edit{'-', l})
		}
		for _, l := range b {
			all = append(all, edit{'+', l})
		}
		return all
	}
	// common[i][j] is the length of what a[i:] and b[j:] have in common.
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			all = append(all, edit{'-', a[i]})
			i++
		default:
			all = append(all, edit{'+', b[j]})
			j++
		}
	}
	return all
}
