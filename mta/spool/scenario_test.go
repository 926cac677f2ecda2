package spool_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// step does one action that the seed chooses.
func (w *world) step() {
	switch n := w.rng.IntN(20); {
	case n < 3:
		w.accept()
	case n == 3:
		w.acceptPair()
	case n == 4:
		w.now = w.now.Add(4 * time.Second)
		if w.rng.IntN(8) == 0 {
			w.now = w.now.Add(11 * time.Minute) // tmp/ and large/ are looked through
		}
		w.writer.Rotate()
	case n == 5:
		w.read()
	case w.store == nil:
		if w.rng.IntN(3) == 0 {
			w.startRunner()
		}
	case n < 9:
		fresh, _, _ := w.store.Poll(1 + w.rng.IntN(4))
		w.active = append(w.active, fresh...)
	case n < 13:
		if m := w.pick(); m != nil {
			w.attempt(m)
		}
	case n < 15:
		if m := w.pick(); m != nil {
			w.report(m)
		}
	case n == 15:
		if m := w.pick(); m != nil {
			_ = w.store.Spill(m)
		}
	case n == 16:
		w.flush()
	default:
		w.checkpoint()
	}
	w.settleCrash()
}

func (w *world) pick() *spool.Message {
	if len(w.active) == 0 {
		return nil
	}
	return w.active[w.rng.IntN(len(w.active))]
}

// finish lets the system come to rest without further crashes: all that can be done is done, and reclaimed.
func (w *world) finish() {
	w.disk.Hook, w.resting = nil, true
	for round := 0; round < 40; round++ {
		if w.store == nil {
			w.startRunner()
			w.settleCrash()
			continue
		}
		w.now = w.now.Add(4 * time.Second)
		w.writer.Rotate()
		fresh, _, _ := w.store.Poll(1000)
		w.active = append(w.active, fresh...)
		for _, m := range slices.Clone(w.active) {
			w.attempt(m)
			w.report(m)
			if round > 20 {
				_ = w.store.Spill(m)
			}
		}
		w.checkpoint()
		if round == 25 {
			w.now = w.now.Add(spool.TmpAge + time.Hour)
		}
		if round > 25 {
			w.now = w.now.Add(11 * time.Minute)
		}
	}
}

// verify checks the invariants of a system at rest.
func (w *world) verify() {
	if w.store == nil {
		w.fail("7: queue-runner does not start: %v", w.startErr)
		return
	}
	w.verifyMail()
	waiting := map[mta.ID]bool{}
	for _, g := range w.order {
		if g.state != "refused" && strings.Contains(g.kinds, "W") {
			waiting[g.id] = true
		}
	}
	w.verifyReclaimed(waiting)
}

// verifyMail checks that every recipient of every accepted message has it, once.
func (w *world) verifyMail() {
	present := w.mailboxes()
	for _, g := range w.order {
		n := len(g.kinds)
		for i := range n {
			p := part{g.id, i}
			switch g.kinds[i] {
			case 'L':
				w.verifyLocal(g, p, present)
			case 'A', 'X', 'E':
				w.verifyMembers(g, i, present)
			case 'R', 'D', 'S', 'N':
				if d := w.part(p); g.state == "acked" && d.count == 0 {
					w.fail("1: %v was accepted and never delivered", p)
				}
			}
			if got := w.reports[p]; strings.IndexByte("FSNE", g.kinds[i]) >= 0 && (g.state == "acked" && got != 1 || got > 1) {
				w.fail("3: %v was reported %d times", p, got)
			}
		}
	}
}

func (w *world) verifyLocal(g *ghost, p part, present map[part]int) {
	d := w.part(p)
	got := present[p] + d.taken
	if g.state == "acked" && got == 0 {
		w.fail("1: %v was accepted and is in no mailbox", p)
	}
	if got > 1+d.excuse || present[p] > 1 {
		w.fail("3: %v is in its mailbox %d times, was read %d times", p, present[p], d.taken)
	}
	if g.state == "refused" && got > 0 {
		w.fail("2: %v was refused and delivered", p)
	}
}

// verifyMembers checks the members of an alias by their mailboxes: each has the message once, whatever its number is.
func (w *world) verifyMembers(g *ghost, i int, present map[part]int) {
	members := 0
	for p := range present {
		if p.id == g.id && g.member[p.i] {
			members++
		}
	}
	for p, d := range w.parts {
		if p.id == g.id && g.member[p.i] && present[p] == 0 && d.taken > 0 {
			members++
		}
	}
	want := 2*strings.Count(g.kinds, "A") + strings.Count(g.kinds, "X") + strings.Count(g.kinds, "E")
	if g.state == "acked" && members < want || members > want {
		w.fail("3: the aliases of %s have %d members, %d were delivered", g.id, want, members)
	}
	if g.kinds[i] == 'X' && g.state == "acked" && w.part(part{g.id.Child('X', i), 0}).count == 0 {
		w.fail("1: the forward of %s/%d was never delivered", g.id, i)
	}
}

// mailboxes counts the files in all mailboxes.
func (w *world) mailboxes() map[part]int {
	fsys := w.disk.Process("look")
	out := map[part]int{}
	boxes, _ := fsys.ReadDir("/mail")
	for _, box := range boxes {
		for _, dir := range []string{"new", "cur"} {
			names, _ := fsys.ReadDir(filepath.Join("/mail", box, dir))
			for _, name := range names {
				path := filepath.Join("/mail", box, dir, name)
				p, shown := w.show(fsys, path, name)
				if !shown {
					w.fail("4: %s is not whole", path)
				}
				out[p]++
			}
		}
	}
	return out
}

// verifyReclaimed checks that nothing is left of what is finished.
func (w *world) verifyReclaimed(waiting map[mta.ID]bool) {
	fsys := w.disk.Process("look")
	for _, dir := range []string{"incoming", "large", "tmp", "deferred", "journal", "corrupt"} {
		names, err := fsys.ReadDir(filepath.Join("/spool/q", dir))
		if err != nil {
			w.fail("6: %v", err)
		}
		for _, name := range names {
			path := filepath.Join("/spool/q", dir, name)
			switch dir {
			case "deferred":
				w.verifyShard(path, waiting)
			case "journal":
			case "tmp":
				if strings.HasSuffix(name, ".seg") {
					continue // a writer's spare
				}
				w.fail("6: %s is left", path)
			case "large":
				if !waiting[mta.ID(name)] {
					w.fail("6: %s is left", path)
				}
			default:
				w.fail("6: %s is left", path)
			}
		}
		if dir == "journal" && len(names) > 2 {
			w.fail("6: the journal has %d segments", len(names))
		}
	}
	rep, err := spool.Check(fsys, "/spool/q")
	if err != nil || len(rep.Problems) > 0 {
		w.fail("7: check: %v %v", err, rep)
	}
}

func (w *world) verifyShard(path string, waiting map[mta.ID]bool) {
	names, _ := w.disk.Process("look").ReadDir(path)
	for _, name := range names {
		if id := mta.ID(strings.TrimSuffix(name, ".log")); !waiting[id] {
			w.fail("6: %s is left", filepath.Join(path, name))
		}
	}
}

// run plays a whole scenario and returns what went wrong.
func (w *world) run(steps int) error {
	for range steps {
		w.step()
		if len(w.failures) > 0 {
			break
		}
	}
	if len(w.failures) == 0 {
		w.finish()
		w.verify()
	}
	if len(w.failures) > 0 {
		return fmt.Errorf("%s", strings.Join(w.failures, "\n"))
	}
	return nil
}
