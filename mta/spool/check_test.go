package spool

import (
	"bytes"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

func (m *machine) check() *CheckReport {
	m.t.Helper()
	ops := m.disk.Ops()
	r, err := Check(m.disk.Process("check"), root)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.disk.Ops() != ops {
		m.t.Errorf("Check changed something in %d operations", m.disk.Ops()-ops)
	}
	return r
}

// full is a spool with something in each folder: four messages, of which two are deferred, one of each large.
func full(t *testing.T) (m *machine, s *Store, ids []mta.ID) {
	t.Helper()
	m = newMachine(t)
	s = m.open(&bytes.Buffer{})
	w := m.writer()
	for _, body := range []string{bodies["inline"], bodies["large"], bodies["inline"], bodies["large"]} {
		ids = append(ids, m.put(w, body))
	}
	msgs, _, err := s.Poll(10)
	if err != nil || len(msgs) != 4 {
		t.Fatalf("got %d messages, %v", len(msgs), err)
	}
	for _, x := range msgs[:2] {
		s.Record(x, 0, Result{Outcome: mta.Outcome{Code: 451, Text: "later"}, Next: m.now})
		if err := s.Spill(x); err != nil {
			t.Fatal(err)
		}
		s.Record(x, 0, Result{Outcome: mta.Outcome{Code: 451, Text: "later still"}, Next: m.now})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return m, s, ids
}

func TestCheckFindsNothingWrongWithAGoodSpool(t *testing.T) {
	if r := newMachine(t).check(); len(r.Problems) > 0 {
		t.Errorf("an empty spool: got %q", r.Problems)
	}
	m, _, _ := full(t)
	r := m.check()
	if len(r.Problems) > 0 {
		t.Errorf("got %q", r.Problems)
	}
	all := strings.Join(r.Lines, "\n")
	for _, want := range []string{"incoming: 1 segments with 4 committed messages, 0 not committed", "deferred: 2 messages", "journal: 1 segments with 4 records", "large: 2 files", "tmp: 1 files"} {
		if !strings.Contains(all, want) {
			t.Errorf("got\n%s\nwant %q", all, want)
		}
	}
}

func TestCheckNamesEachProblem(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(m *machine, ids []mta.ID)
		want   string
	}{
		"a segment":          {func(m *machine, _ []mta.ID) { m.change("incoming/"+m.list("incoming")[0], 300) }, "are damaged"},
		"a segment's header": {func(m *machine, _ []mta.ID) { m.change("incoming/"+m.list("incoming")[0], 20) }, ".seg: no valid record"},
		"a large file":       {func(m *machine, ids []mta.ID) { m.change("large/"+string(ids[3]), 5) }, "is not what was accepted"},
		"a deferred file":    {func(m *machine, ids []mta.ID) { m.change("deferred/"+ids[0].Shard()+"/"+string(ids[0]), 5) }, "not a whole deferred file"},
		"an ID.log":          {func(m *machine, ids []mta.ID) { m.change("deferred/"+ids[0].Shard()+"/"+string(ids[0])+".log", 0) }, ".log:1: not a result of this message"},
		"a deferred file under another name": {func(m *machine, ids []mta.ID) {
			id := string(ids[0][:13]) + "ZZZ"
			_ = m.disk.Process("hand").Mkdir(root+"/deferred/ZZ", 0o700)
			m.write("deferred/ZZ/"+id, m.octets("deferred/"+ids[0].Shard()+"/"+string(ids[0])))
		}, "holds message"},
		"a log alone": {func(m *machine, _ []mta.ID) {
			_ = m.disk.Process("hand").Mkdir(root+"/deferred/AA", 0o700)
			m.write("deferred/AA/"+string(idA)+".log", nil)
		}, "no message beside it"},
		"a journal's record": {func(m *machine, _ []mta.ID) {
			x := newBuilder(segmentHeader{V: 1, Writer: writerJournal, Nonce: 5})
			x.add(kindResult, []byte(`{"id":"`+string(idA)+`"}`))
			m.write("journal/"+string(idA)+".seg", x.b)
		}, "state \"\""},
		"names":      {func(m *machine, _ []mta.ID) { m.write("incoming/core", nil) }, "incoming/core: not a name of the spool's"},
		"more names": {func(m *machine, _ []mta.ID) { m.write("large/core", nil) }, "large/core: not a name of the spool's"},
		"corrupt/":   {func(m *machine, _ []mta.ID) { m.write("corrupt/x", nil) }, "corrupt/x: set aside"},
	} {
		m, _, ids := full(t)
		c.damage(m, ids)
		r := m.check()
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], c.want) {
			t.Errorf("%s: got %q, want one problem with %q", name, r.Problems, c.want)
		}
	}
}

func TestCheckNeedsASpool(t *testing.T) {
	m := newMachine(t)
	if r, err := Check(m.disk.Process("check"), "/spool/none"); err == nil {
		t.Errorf("got %+v, want an error", r)
	}
}
