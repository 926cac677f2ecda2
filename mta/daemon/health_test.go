package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestHealthSaysAllThatIsWrong(t *testing.T) {
	a := &App{}
	var first, second error
	a.OnHealth("a", func() error { return first })
	a.OnHealth("b", func() error { return second })
	if err := a.wellness(t.Context()); err != nil {
		t.Errorf("got %v, want nothing", err)
	}
	first, second = errors.New("one\ntwo"), errors.New("three")
	if err := a.wellness(t.Context()); err == nil || err.Error() != "a: one; two; b: three" {
		t.Errorf("got %v, want both faults in one line", err)
	}
}

func TestACheckThatHangsIsAFaultAndDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, release := &App{}, make(chan struct{})
		var calls atomic.Int32
		a.OnHealth("disk", func() error { calls.Add(1); <-release; return nil })
		for range 3 {
			if err := a.wellness(context.Background()); err == nil || err.Error() != "disk: no answer within 5s" {
				t.Errorf("got %v, want that there is no answer", err)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("got %d calls at once, want 1", n)
		}
		close(release)
		synctest.Wait()
		if err := a.wellness(context.Background()); err != nil {
			t.Errorf("got %v once the disk is back", err)
		}
	})
}

func TestWritableLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Writable(dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v; want an empty folder", left, err)
	}
	if err := Writable(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}
