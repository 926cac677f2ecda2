package spool

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// listen starts queue-runner's end, and returns how to end it.
func listen(t *testing.T, dir string, woken chan struct{}) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ListenTrigger(ctx, dir, woken) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// wake pokes until the listener, which may still be starting, has woken up.
func wake(t *testing.T, poke *Trigger, woken chan struct{}) {
	t.Helper()
	for {
		poke.Poke()
		select {
		case <-woken:
			return
		case <-t.Context().Done():
			t.Fatal("nobody woke up")
		default:
			runtime.Gosched()
		}
	}
}

func TestAPokeWakesTheListenerAlsoAfterItsRestart(t *testing.T) {
	dir := t.TempDir()
	poke := NewTrigger(dir)
	defer poke.Close()
	poke.Poke() // nobody is there: nothing happens
	for range 3 {
		woken := make(chan struct{}, 1)
		stop := listen(t, dir, woken)
		wake(t, poke, woken)
		if err := stop(); err != nil {
			t.Errorf("the end of its context: got %v", err)
		}
		poke.Poke()
	}
	if st, err := os.Stat(filepath.Join(dir, nameTrigger)); err != nil || st.Mode().Type() != os.ModeNamedPipe || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("got %v, %v; want a FIFO that others cannot use", st, err)
	}
}

func TestAPokeNeverBlocks(t *testing.T) {
	dir := t.TempDir()
	woken := make(chan struct{}, 1)
	stop := listen(t, dir, woken)
	poke := NewTrigger(dir)
	defer poke.Close()
	wake(t, poke, woken)
	// A reader that does not read: the FIFO's room comes to its end, and pokes still return.
	f, err := os.OpenFile(filepath.Join(dir, nameTrigger), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for range 70_000 { // more than a FIFO holds
		poke.Poke()
	}
}

func TestATriggerThatIsNoFIFOIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, nameTrigger), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ListenTrigger(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "not a FIFO") {
		t.Errorf("got %v, want it refused", err)
	}
	if err := ListenTrigger(t.Context(), filepath.Join(dir, "none"), nil); err == nil {
		t.Error("without a folder: got no error")
	}
}
