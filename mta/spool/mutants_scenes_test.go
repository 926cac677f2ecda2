package spool_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// A scene is a short life of one machine, step by step: short enough to be stopped at every pair of its operations.
type scene []func(w *world)

// What a fault does to an operation.
const (
	faultPower = "power"
	faultKill  = "kill"
	faultEIO   = "EIO"
)

// fault befalls the nth operation after the one before.
type fault struct {
	n    int
	what string
}

func (w *world) arm(faults []fault) {
	at := w.disk.Ops() + faults[0].n
	w.disk.Hook = func(op simdisk.Op) error {
		if op.Seq < at || op.Proc == "look" {
			return nil
		}
		what := faults[0].what
		if faults = faults[1:]; len(faults) == 0 {
			w.disk.Hook = nil
		} else {
			at = op.Seq + faults[0].n
		}
		switch what {
		case faultPower:
			w.crashed = "power"
			w.disk.PowerOff()
		case faultKill:
			w.crashed = op.Proc
			w.disk.KillLocked(op.Proc)
		default:
			return syscall.EIO
		}
		return simdisk.ErrDead
	}
}

// play runs the steps, each with a queue-runner that is up, and returns what the invariants say in the end.
func (s scene) play(w *world) error {
	for _, step := range s {
		if w.store == nil {
			w.startRunner()
			w.settleCrash()
		}
		if w.store != nil {
			step(w)
		}
		w.settleCrash()
	}
	return w.run(0)
}

// operations counts those of the scene without a fault.
func (s scene) operations(sync string) int {
	w := sceneWorld(0, sync)
	first := w.disk.Ops()
	for _, step := range s {
		step(w)
	}
	return w.disk.Ops() - first
}

// sceneWorld is quiet: nothing happens in it but the steps.
func sceneWorld(seed uint64, sync string) *world {
	w := newWorld(seed)
	w.resting, w.sync, w.deliv.Sync = true, sync, sync
	return w
}

// faults plays the scene with each fault of first at each of its operations, followed, where then is not empty, by each
// of then at each of the next operations, up to span of them.
func (s scene) faults(t *testing.T, sync string, seeds uint64, first, then string, span int) {
	t.Helper()
	for n := 1; n <= s.operations(sync); n++ {
		for k := range max(1, span) {
			faults := []fault{{n, first}}
			if then != "" {
				faults = append(faults, fault{1 + k, then})
			}
			for seed := range seeds {
				w := sceneWorld(seed, sync)
				w.arm(slices.Clone(faults))
				if err := s.play(w); err != nil {
					t.Fatalf("seed %d, faults %v: %v", seed, faults, err)
				}
			}
		}
	}
}

func accept(shape string) func(w *world) {
	return func(w *world) {
		w.shape = shape
		w.accept()
	}
}

func poll(w *world) {
	fresh, _, _ := w.store.Poll(100)
	w.active = append(w.active, fresh...)
}

func attemptAll(w *world) {
	for _, m := range slices.Clone(w.active) {
		w.attempt(m)
	}
}

func reportAll(w *world) {
	for _, m := range slices.Clone(w.active) {
		w.report(m)
	}
}

func spillAll(w *world) {
	for _, m := range w.active {
		_ = w.store.Spill(m)
	}
}

func rotate(w *world) {
	w.now = w.now.Add(4e9)
	w.writer.Rotate()
}

func checkpoint(w *world) { w.checkpoint() }

func flush(w *world) { w.flush() }

// failOnce makes the next operation of a name, on a path that contains part, fail.
func failOnce(name, part string) func(w *world) {
	return func(w *world) {
		w.disk.Hook = func(op simdisk.Op) error {
			if op.Name != name || !strings.Contains(op.Path, part) {
				return nil
			}
			w.disk.Hook = nil
			return syscall.EIO
		}
	}
}

// powerAt cuts the power at the nth operation from now.
func powerAt(n int) func(w *world) {
	return func(w *world) { w.arm([]fault{{n, faultPower}}) }
}

// killNow ends queue-runner.
func killNow(w *world) {
	w.disk.Kill("runner")
	w.crashed = "runner"
}

func powerNow(w *world) {
	w.disk.PowerOff()
	w.crashed = "power"
}

// replay plays a scene with many seeds: what a power loss keeps differs.
func replay(t *testing.T, seeds uint64, sync string, s scene) {
	t.Helper()
	for seed := range seeds {
		if err := s.play(sceneWorld(seed, sync)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestGuardFailuresAreReportedOnceWhateverCrashes crashes around the making of a report.
func TestGuardFailuresAreReportedOnceWhateverCrashes(t *testing.T) {
	s := scene{accept("F"), poll, attemptAll, reportAll, attemptAll, checkpoint, checkpoint}
	s.faults(t, local.SyncAuto, 6, faultPower, "", 0)
	s.faults(t, local.SyncAuto, 1, faultKill, faultPower, 14)
	all := scene{accept("NSE"), poll, attemptAll, reportAll, attemptAll, checkpoint, checkpoint}
	all.faults(t, local.SyncAuto, 2, faultPower, "", 0)
	all.faults(t, local.SyncAuto, 1, faultKill, "", 0)
	believed := scene{accept("F"), poll, attemptAll, reportAll, powerNow, attemptAll, checkpoint}
	believed.faults(t, local.SyncAuto, 6, faultKill, "", 0)
	retried := scene{accept("F"), poll, attemptAll, reportAll, poll, reportAll, flush, powerNow}
	retried.faults(t, local.SyncAuto, 2, faultEIO, "", 0)
	for _, again := range []scene{
		{reportAll, flush, powerNow},
		{poll, checkpoint, checkpoint, checkpoint, checkpoint, reportAll, flush, powerNow},
	} {
		again = append(scene{accept("F"), poll, attemptAll, spillAll, checkpoint, reportAll}, again...)
		again.faults(t, local.SyncAuto, 1, faultEIO, "", 0)
	}
}

// TestGuardACommittedReportIsNotForgotten cannot open the segment in which it has just committed a report.
func TestGuardACommittedReportIsNotForgotten(t *testing.T) {
	blind := func(w *world) {
		_, err := w.store.Report(w.active[0], spool.Telling{Failed: []int{0, 1}}, func(_ mta.ID, c io.Writer) (*mta.Envelope, error) {
			w.blind = 1
			_, err := io.WriteString(c, "Subject: report\r\n\r\nboth\r\n")
			return &mta.Envelope{Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: address('R', 0)}}}, err
		})
		if !errors.Is(err, syscall.EMFILE) {
			w.fail("got %v, want EMFILE", err)
		}
	}
	for _, again := range []scene{{}, {reportAll}, {poll, reportAll}, {checkpoint, checkpoint, poll}, {powerNow}, {reportAll, powerNow}} {
		replay(t, 2, local.SyncAuto, append(scene{accept("FF"), poll, attemptAll, blind}, again...))
	}
}

// TestGuardRefusedStaysRefused lets a sync do its work and then report an error, before the power goes.
func TestGuardRefusedStaysRefused(t *testing.T) {
	lie := func(w *world) { w.pair.lies = []error{syscall.EIO} }
	replay(t, 12, local.SyncAuto, scene{lie, accept("L"), powerNow})
	for n := range 30 {
		replay(t, 4, local.SyncAuto, scene{lie, accept("L"), rotate, poll, powerAt(n + 1), checkpoint, checkpoint, powerNow})
	}
	lost := func(w *world) {
		w.disk.Hook = func(op simdisk.Op) error {
			if op.Name != "sync" || op.Proc != "smtpd" || len(w.pair.lies) > 0 {
				return nil
			}
			w.disk.Hook = nil
			return syscall.EIO
		}
	}
	first := func(w *world) { // so that nothing but the message and its withdrawal is synced
		accept("R")(w)
		lie(w)
	}
	replay(t, 12, local.SyncAuto, scene{first, lost, accept("L"), powerNow})
}

// TestGuardLostWritesAreMadeAnew fails the sync of a whole filesystem: what it was to write is gone, whatever the next
// sync says.
func TestGuardLostWritesAreMadeAnew(t *testing.T) {
	for _, s := range []scene{
		{accept("W"), poll, attemptAll, spillAll, rotate, poll, failOnce("syncfs", "/spool"), checkpoint, checkpoint, checkpoint, powerNow},
		{accept("L"), poll, attemptAll, failOnce("syncfs", "/mail"), checkpoint, attemptAll, checkpoint, checkpoint, powerNow},
		{accept("LW"), poll, attemptAll, failOnce("syncfs", "/mail"), checkpoint, attemptAll, checkpoint, checkpoint, powerNow},
	} {
		replay(t, 8, local.SyncAuto, s)
	}
}

// TestGuardRewrittenLogLasts lets a result fail to reach its log, and the power go while the log is written anew.
func TestGuardRewrittenLogLasts(t *testing.T) {
	s := scene{accept("RW"), poll, attemptAll, spillAll, rotate, poll, checkpoint, checkpoint, checkpoint, failOnce("write", ".log"), attemptAll, flush}
	for n := range 14 {
		replay(t, 6, local.SyncAuto, append(slices.Clone(s), powerAt(n+1), checkpoint, checkpoint, powerNow))
	}
}

// TestGuardOlderResultNeverWins lets the journal's segments vanish in any order.
func TestGuardOlderResultNeverWins(t *testing.T) {
	s := scene{accept("DW"), poll, attemptAll, checkpoint, attemptAll, flush, checkpoint, spillAll, checkpoint}
	replay(t, 60, local.SyncAuto, append(s, powerNow))
}

// TestGuardEachDeliveryLasts crashes where every delivery is synced by itself, also after a start with batched ones.
func TestGuardEachDeliveryLasts(t *testing.T) {
	each := scene{accept("L"), poll, attemptAll, flush, checkpoint}
	each.faults(t, local.SyncEach, 2, faultPower, "", 0)
	each.faults(t, local.SyncEach, 2, faultKill, faultPower, 16)
	reconfigured := func(w *world) { w.sync, w.deliv.Sync = local.SyncEach, local.SyncEach }
	replay(t, 12, local.SyncBatched, scene{accept("L"), poll, attemptAll, reconfigured, killNow, flush, powerNow})
	for n := range 24 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			replay(t, 12, local.SyncBatched, scene{accept("L"), poll, attemptAll, reconfigured, powerNow, flush, powerAt(n + 1), attemptAll, flush, checkpoint, powerNow})
		})
	}
	for n := range 12 {
		crash := func(w *world) {
			w.sync = local.SyncEach
			w.arm([]fault{{1, faultPower}, {n + 1, faultPower}})
		}
		replay(t, 16, local.SyncBatched, scene{accept("L"), poll, attemptAll, crash, flush, checkpoint, checkpoint})
	}
}
