package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta"
)

// fates are the lines that a hearer has written, when there are so many.
func (s *site) fates(name string, n int) []string {
	s.t.Helper()
	var lines []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(filepath.Join(s.opt.State, name, "fates")) // not there yet
		if lines = strings.Split(strings.TrimSpace(string(b)), "\n"); len(lines) >= n && lines[0] != "" {
			return lines
		}
	}
	s.t.Fatalf("%s has heard %q within %v, want %d lines", name, lines, patience, n)
	return nil
}

func TestFiltersHearWhatBecameOfAMessage(t *testing.T) {
	s := newSite(t, "hears-one", "hears-two", "deafer")
	s.start()
	var want []string
	say := func(r result, fate filters.Fate) {
		want = append(want, fmt.Sprintf("s1 %s %d", r.env.ID, fate))
	}
	const plain = "Subject: x\r\n\r\nbody\r\n"

	f := s.host.Session()
	committed := s.message(f, event(mta.AtMessage), plain)
	f.Reset(mta.Committed)
	say(committed, filters.Committed)
	s.fates("hears-one", 1) // one after the other: what is told at once comes in any order
	refused := s.message(f, event(mta.AtMessage), plain)
	f.Reset(0) // as after a queue that could not take it
	say(refused, filters.Refused)
	s.fates("hears-one", 2)
	dropped := s.message(f, event(mta.AtMessage), plain)
	f.End() // the client has gone
	say(dropped, filters.Dropped)
	f.End()

	for _, name := range []string{"hears-one", "hears-two"} {
		got := s.fates(name, 3)
		slices.Sort(got)
		sorted := slices.Sorted(slices.Values(want))
		if !slices.Equal(got, sorted) {
			t.Errorf("%s heard %q, want %q", name, got, sorted)
		}
	}
	if _, err := os.Stat(filepath.Join(s.opt.State, "deafer", "fates")); !os.IsNotExist(err) {
		t.Errorf("a filter without Done: got %v", err)
	}
}

func TestASessionWithoutAMessageHasNoFate(t *testing.T) {
	s := newSite(t, "hears-one")
	s.start()
	f := s.host.Session()
	f.Ask(t.Context(), event(mta.AtSender))
	f.Reset(mta.Dropped)
	f.End()
	r := s.judge("Subject: x\r\n\r\nbody\r\n")
	if got := s.fates("hears-one", 1); len(got) != 1 || got[0] != fmt.Sprintf("s1 %s %d", r.env.ID, filters.Dropped) {
		t.Errorf("got %q, want the message alone", got)
	}
}
