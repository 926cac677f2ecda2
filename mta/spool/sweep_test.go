package spool

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// tidy lets queue-runner look round once, sweepEvery later.
func (m *machine) tidy(s *Store) {
	m.t.Helper()
	m.now = m.now.Add(sweepEvery)
	if _, _, err := s.Poll(100); err != nil {
		m.t.Fatal(err)
	}
	if _, err := s.Checkpoint(); err != nil {
		m.t.Fatal(err)
	}
}

func TestWhatIsOldInTmpAndNobodysIsRemoved(t *testing.T) {
	m := newMachine(t)
	s := m.open(&bytes.Buffer{})
	m.write("tmp/old", []byte("x"))
	m.write("tmp/locked", []byte("x"))
	if err := m.disk.Process("hand").Mkdir(root+"/tmp/folder", 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := m.disk.Process("session").Open(root + "/tmp/locked")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Lock(); err != nil {
		t.Fatal(err)
	}
	m.now = m.now.Add(TmpAge - 2*sweepEvery)
	m.write("tmp/young", []byte("x"))
	m.tidy(s)
	if got := m.list("tmp"); len(got) != 4 {
		t.Errorf("before its age: got %v, want all", got)
	}
	m.tidy(s)
	if got, want := m.list("tmp"), []string{"folder", "locked", "young"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	_ = f.Close()
	m.tidy(s)
	if got, want := m.list("tmp"), []string{"folder", "young"}; !slices.Equal(got, want) {
		t.Errorf("when it is free: got %v, want %v", got, want)
	}
}

func TestALargeFileThatNobodyNamesIsRemovedInTheEnd(t *testing.T) {
	m := newMachine(t)
	var log bytes.Buffer
	s := m.open(&log)
	m.write("large/"+string(idA), []byte("x"))
	m.write("large/not an id", []byte("x"))
	m.tidy(s)
	if got := m.list("large"); len(got) != 2 {
		t.Errorf("at first sight: got %v, want both", got)
	}
	for range 3 {
		m.tidy(s)
	}
	if got := m.list("large"); !slices.Equal(got, []string{"not an id"}) {
		t.Errorf("got %v, want the orphan gone", got)
	}
	if !strings.Contains(log.String(), "event=spool-swept") {
		t.Errorf("got the log\n%s, want spool-swept", &log)
	}
}

func TestALargeFileThatIsNamedOrLockedStays(t *testing.T) {
	m := newMachine(t)
	s := m.open(&bytes.Buffer{})
	w := m.writer()
	id := m.put(w, bodies["large"])
	in := w.Begin() // its session has not ended
	if _, err := io.WriteString(in, bodies["large"]); err != nil {
		t.Fatal(err)
	}
	if err := in.keepLarge(); err != nil {
		t.Fatal(err)
	}
	dead := m.disk.Process("dead smtpd")
	other := m.writerOn(dead)
	lost := other.Begin()
	if _, err := io.WriteString(lost, bodies["large"]); err != nil {
		t.Fatal(err)
	}
	if err := lost.keepLarge(); err != nil {
		t.Fatal(err)
	}
	m.disk.Kill("dead smtpd")
	for range 5 {
		m.tidy(s)
	}
	want := []string{string(id), string(in.ID())}
	if got := m.list("large"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: the message's, and the one of the session", got, want)
	}
}
