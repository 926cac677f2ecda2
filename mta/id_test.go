package mta_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

const someID = "0123456789ABCDEF"

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "0123456789ABCDE", strings.Repeat("A", 17), "0123456789abcdef",
		"../../../etc/pas", "0123456789ABCD/F", "0123456789ABCD.F", "0123456789ABCDE\x00", "0123456789ABCDEÉ",
		"I123456789ABCDEF", "L123456789ABCDEF", "O123456789ABCDEF", "U123456789ABCDEF", // not in the alphabet
		someID + "F", someID + "F0F", someID + "Q1", someID + "F01", someID + "F-1", someID + "F1/", someID + "F1.log", someID + "f1",
		someID + "F1234567890", someID + "1", someID + ".log",
		someID + strings.Repeat("F1", 17), // longer than MaxIDLen
	} {
		if id, err := mta.ParseID(s); !errors.Is(err, mta.ErrBadID) || id != "" {
			t.Errorf("%q: got %q, %v; want ErrBadID", s, id, err)
		}
	}
}

func TestAnIDTellsItsParts(t *testing.T) {
	for s, suffix := range map[string]string{
		someID: "", someID + "F0": "F0", someID + "X12F3": "X12F3", someID + "D999999999": "D999999999", someID + strings.Repeat("F1", 16): strings.Repeat("F1", 16),
	} {
		id, err := mta.ParseID(s)
		if err != nil || id.Suffix() != suffix || id.Shard() != "EF" {
			t.Errorf("%s: got %q, suffix %q, shard %q, %v", s, id, id.Suffix(), id.Shard(), err)
		}
	}
	if got := mta.ID(someID).Child('X', 3).Child('F', 0); got != someID+"X3F0" {
		t.Errorf("got %s, want %sX3F0", got, someID)
	}
}

func TestIDsSortByTimeAndNeverRepeat(t *testing.T) {
	now := time.Date(2026, 11, 24, 1, 2, 3, 456789000, time.UTC)
	first := mta.NewID(now)
	// Another test of this process may have made later ones; no clock may go back.
	if d := first.Time().Sub(now); d < 0 {
		t.Errorf("got the time %v, want at least %v", first.Time(), now)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[mta.ID]bool{}
	for range 4 {
		wg.Go(func() {
			var mine []mta.ID
			for range 1000 {
				mine = append(mine, mta.NewID(now.Add(-time.Hour))) // the clock was set back
			}
			if !slices.IsSorted(mine) {
				t.Error("ids of one goroutine do not rise")
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range mine {
				if _, err := mta.ParseID(string(id)); err != nil || id <= first || seen[id] {
					t.Errorf("%s: %v, first %s, seen %v", id, err, first, seen[id])
				}
				seen[id] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != 4000 {
		t.Errorf("got %d ids, want 4000", len(seen))
	}
}

func TestAnIDHoldsItsTime(t *testing.T) {
	now := time.Date(2500, 1, 2, 3, 4, 5, 678901000, time.UTC) // later than any other test's
	if got := mta.NewID(now).Time(); !got.Equal(now) {
		t.Errorf("got %v, want %v", got, now)
	}
}

// FuzzID: what is accepted is a safe name of a file, and is the same string again.
func FuzzID(f *testing.F) {
	for _, s := range []string{someID, someID + "X1F0", "../../../../../../x", someID + "F01", someID + "F999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := mta.ParseID(s)
		if err != nil {
			if !errors.Is(err, mta.ErrBadID) || id != "" {
				t.Fatalf("%q: got %q, %v", s, id, err)
			}
			return
		}
		if string(id) != s || len(s) > mta.MaxIDLen || len(s) < 16 {
			t.Fatalf("%q: got %q", s, id)
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }); i >= 0 {
			t.Fatalf("%q: character %d", s, i)
		}
		if len(id.Shard()) != 2 || string(id) != s[:16]+id.Suffix() || id.Time().UnixMicro() < 0 {
			t.Fatalf("%q: shard %q, suffix %q, time %v", s, id.Shard(), id.Suffix(), id.Time())
		}
		if len(s) < 40 {
			if child, err := mta.ParseID(string(id.Child('F', 12))); err != nil || child.Shard() != id.Shard() {
				t.Fatalf("%q: its child is %q, %v", s, child, err)
			}
		}
	})
}
