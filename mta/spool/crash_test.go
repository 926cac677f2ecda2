package spool_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

const scenarioSteps = 60

// scenarios is how many there are: all of them with POSTHOUSE_CRASH=full, which takes two processors ten minutes.
func scenarios(all, some, few uint64) uint64 {
	switch {
	case os.Getenv("POSTHOUSE_CRASH") == "full":
		return all
	case testing.Short():
		return few
	}
	return some
}

// TestNothingIsLostOrDoubledWithoutCrash plays scenarios on a disk that does what it is told.
func TestNothingIsLostOrDoubledWithoutCrash(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 80
	}
	for seed := range seeds {
		w := newWorld(seed)
		if err := w.run(scenarioSteps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// crashAt arms the disk: at operation n, and again more operations later for each of again, the power goes or the
// process that does the operation dies.
func (w *world) crashAt(n int, power bool, again ...int) {
	w.disk.Hook = func(op simdisk.Op) error {
		if op.Seq < n || spectator(op) {
			return nil
		}
		if power {
			w.crashed = "power"
			w.disk.PowerOff()
		} else {
			w.crashed = op.Proc
			w.disk.KillLocked(op.Proc)
		}
		if len(again) == 0 {
			w.disk.Hook = nil
		} else {
			n, again = op.Seq+again[0], again[1:]
		}
		return simdisk.ErrDead
	}
}

// spectator says that an operation is not one of the mail system's.
func spectator(op simdisk.Op) bool { return op.Proc == "reader" || op.Proc == "look" }

// operations returns how many operations a scenario has until it begins to come to rest.
func operations(seed uint64) (first, last int) {
	w := newWorld(seed)
	first = w.disk.Ops()
	for range scenarioSteps {
		w.step()
	}
	return first, w.disk.Ops()
}

// TestCrashAtEveryOperation stops scenarios at each file operation in turn, by a power loss and by the death of the
// process, starts again, and crashes once more a few operations later: in recovery, most often.
func TestCrashAtEveryOperation(t *testing.T) {
	seeds := scenarios(12, 6, 3)
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			first, last := operations(seed)
			for n := first + 1; n <= last; n++ {
				for _, power := range []bool{true, false} {
					w := newWorld(seed)
					w.crashAt(n, power, 1+n%17)
					if err := w.run(scenarioSteps); err != nil {
						t.Fatalf("seed %d, operation %d of %d, power %v: %v", seed, n, last, power, err)
					}
				}
			}
		})
	}
}

// TestRepeatedCrashes lets machines crash every few operations.
func TestRepeatedCrashes(t *testing.T) {
	seeds := scenarios(400, 300, 60)
	for seed := range seeds {
		w := newWorld(seed)
		again := make([]int, 8)
		for i := range again {
			again[i] = 1 + w.rng.IntN(60)
		}
		w.crashAt(w.disk.Ops()+1+w.rng.IntN(80), w.rng.IntN(2) == 0, again...)
		if err := w.run(scenarioSteps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestMixedCrashes lets machines crash every few operations, by the death of a process or by a power loss in turn: what
// a start-up trusted after the first must be there after the second.
func TestMixedCrashes(t *testing.T) {
	seeds := scenarios(800, 500, 150)
	for seed := range seeds {
		w := newWorld(seed)
		n := w.disk.Ops() + 1 + w.rng.IntN(120)
		left := 6
		w.disk.Hook = func(op simdisk.Op) error {
			if op.Seq < n || op.Proc == "reader" || op.Proc == "look" || left == 0 {
				return nil
			}
			left--
			n = op.Seq + 1 + w.rng.IntN(40)
			if w.rng.IntN(2) == 0 {
				w.crashed = "power"
				w.disk.PowerOff()
			} else {
				w.crashed = op.Proc
				w.disk.KillLocked(op.Proc)
			}
			return simdisk.ErrDead
		}
		if err := w.run(scenarioSteps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestEveryOperationFailing makes each operation fail in turn, once or for a while, with each error that a disk has.
func TestEveryOperationFailing(t *testing.T) {
	seeds := scenarios(4, 2, 1)
	for seed := range seeds {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			t.Run(fmt.Sprint(seed, errno), func(t *testing.T) {
				t.Parallel()
				first, last := operations(seed)
				for n := first + 1; n <= last; n++ {
					for _, length := range []int{1, 25} {
						w := newWorld(seed)
						w.disk.Hook = func(op simdisk.Op) error {
							if op.Seq >= n && op.Seq < n+length && !spectator(op) {
								return errno
							}
							return nil
						}
						if err := w.run(scenarioSteps); err != nil {
							t.Fatalf("seed %d, %v at %d to %d of %d: %v", seed, errno, n, n+length-1, last, err)
						}
					}
				}
			})
		}
	}
}

// TestErrorThenCrash lets one operation fail and the machine crash a little later: what a failed sync has lost must
// have been noticed by then.
func TestErrorThenCrash(t *testing.T) {
	seeds := scenarios(600, 400, 100)
	for seed := range seeds {
		w := newWorld(seed)
		n := w.disk.Ops() + 1 + w.rng.IntN(150)
		after := 1 + w.rng.IntN(40)
		w.disk.Hook = func(op simdisk.Op) error {
			if op.Seq < n || spectator(op) || !strings.HasPrefix(op.Name, "sync") && seed%3 == 0 {
				return nil
			}
			w.crashAt(op.Seq+after, w.rng.IntN(3) > 0)
			return syscall.EIO
		}
		if err := w.run(scenarioSteps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
