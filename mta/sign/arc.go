package sign

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Names of the fields of an ARC set (RFC 8617 4.1).
const (
	arcResults   = "ARC-Authentication-Results"
	arcSignature = "ARC-Message-Signature"
	arcSeal      = "ARC-Seal"
)

// Bounds of a chain (RFC 8617 5.1 and ours).
const (
	maxSets   = 50
	maxSigned = 500 // names in h=
)

// Set is what one host has added to a chain.
type Set struct {
	Results string // the value of ARC-Authentication-Results behind i=, unfolded
	Domain  string // d= of the seal, in lower case
	CV      string // of the seal: none, pass or fail

	raw       [3]string // results, signature, seal
	signature map[string]string
	seal      map[string]string
}

// Chain are the sets of a message, the oldest first.
type Chain struct {
	Sets []Set
	Err  error // what makes it no chain; then it counts as failed
}

// ReadChain finds the sets in a header, whose fields are there with their names and line ends. A header without any has an
// empty chain.
func ReadChain(header []string) *Chain {
	c := &Chain{}
	found := map[int]*[3]string{}
	for _, raw := range header {
		name, value, _ := strings.Cut(raw, ":")
		kind := kindOf(name)
		if kind < 0 {
			continue
		}
		i, err := instance(value)
		if err != nil {
			c.Err = fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
			return c
		}
		if found[i] == nil {
			found[i] = new([3]string)
		}
		if found[i][kind] != "" {
			c.Err = fmt.Errorf("i=%d: two fields %s", i, strings.TrimSpace(name))
			return c
		}
		found[i][kind] = raw
	}
	for i := 1; i <= len(found); i++ {
		raw := found[i]
		if raw == nil {
			c.Err = fmt.Errorf("i=%d is missing", i)
			return c
		}
		s, err := newSet(i, *raw)
		if err != nil {
			c.Err = fmt.Errorf("i=%d: %w", i, err)
			return c
		}
		c.Sets = append(c.Sets, s)
	}
	return c
}

// kindOf says which field of a set it is, -1 for none of them.
func kindOf(name string) int {
	return slices.IndexFunc([]string{arcResults, arcSignature, arcSeal}, func(n string) bool { return strings.EqualFold(n, strings.TrimRight(name, " \t")) })
}

// instance is i=. In the results it is the first tag.
func instance(value string) (int, error) {
	for tag := range strings.SplitSeq(value, ";") {
		name, v, ok := strings.Cut(tag, "=")
		if !ok || strings.TrimSpace(name) != "i" {
			continue
		}
		v = strings.TrimSpace(v)
		i, err := strconv.Atoi(v)
		if err != nil || i < 1 || i > maxSets || v[0] == '+' {
			return 0, fmt.Errorf("i=%.20s", v)
		}
		return i, nil
	}
	return 0, errors.New("no i=")
}

func newSet(i int, raw [3]string) (Set, error) {
	s := Set{raw: raw}
	for kind, text := range raw {
		if text == "" {
			return s, errors.New("a field of the three is missing")
		}
		_, value, _ := strings.Cut(text, ":")
		var ok bool
		switch kind {
		case 0:
			_, rest, _ := strings.Cut(value, ";")
			s.Results, ok = strings.Join(strings.Fields(rest), " "), true
		case 1:
			s.signature, ok = tagList(value)
		case 2:
			s.seal, ok = tagList(value)
		}
		if !ok {
			return s, errors.New("a tag that is none, or is there twice")
		}
	}
	s.Domain, s.CV = strings.ToLower(s.seal["d"]), s.seal["cv"]
	want := "pass"
	if i == 1 {
		want = "none"
	}
	if s.CV != want && s.CV != "fail" {
		return s, fmt.Errorf("cv=%.20s, want %s", s.CV, want)
	}
	if _, ok := s.seal["h"]; ok {
		return s, errors.New("a seal with h=") // RFC 8617 4.1.3
	}
	if _, ok := s.signature["l"]; ok {
		return s, errors.New("a signature of a part of the body")
	}
	return s, nil
}

// Failed says that the chain is not one, or that the last host has found it broken: nobody may add to it (RFC 8617 5.1).
func (c *Chain) Failed() bool {
	return c.Err != nil || len(c.Sets) > 0 && c.Sets[len(c.Sets)-1].CV == "fail"
}

// sealed is what the seal of the n-th set covers (RFC 8617 5.1.1): all sets up to its own. The seal of a chain that has failed
// covers its own set alone.
func (c *Chain) sealed(n int) string {
	var b strings.Builder
	first := 0
	if c.Sets[n].CV == "fail" {
		first = n
	}
	for i := first; i <= n; i++ {
		for kind, raw := range c.Sets[i].raw {
			if i == n && kind == 2 {
				b.WriteString(relaxedField(withoutSignature(raw)))
			} else {
				b.WriteString(relaxedField(raw) + "\r\n")
			}
		}
	}
	return b.String()
}

// signed is what a signature covers of a header (RFC 6376 3.7, 5.4.2): the named fields, the last of a name first, and itself.
func signed(header, names []string, self string, relaxed bool) string {
	var b strings.Builder
	left := map[string][]string{}
	for _, raw := range header {
		name, _, _ := strings.Cut(raw, ":")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		left[name] = append(left[name], raw)
	}
	for _, n := range names {
		n = strings.ToLower(n)
		if list := left[n]; len(list) > 0 {
			b.WriteString(canonField(list[len(list)-1], relaxed) + "\r\n")
			left[n] = list[:len(list)-1]
		}
	}
	b.WriteString(canonField(withoutSignature(self), relaxed))
	return b.String()
}
