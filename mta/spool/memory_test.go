package spool

import (
	"bytes"
	"testing"
)

// TestMemoryOfArrivingMessagesIsBounded: past the bound a message goes to its file early, and arrives as any other.
func TestMemoryOfArrivingMessagesIsBounded(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	content := bytes.Repeat([]byte("0123456789abcd\r\n"), 200<<10/16)
	var all []*Incoming
	for range inMemory/len(content) + 100 {
		in := w.Begin()
		for rest := content; len(rest) > 0; rest = rest[min(8<<10, len(rest)):] {
			if _, err := in.Write(rest[:min(8<<10, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, in)
	}
	if held, most := w.held.Load(), int64(inMemory+100*4*smallShare+2*LargeSize); held > most {
		t.Errorf("got %d octets in memory, want %d at most", held, most)
	}
	early := all[len(all)-1]
	if early.f == nil {
		t.Fatal("the last one is not in a file")
	}
	if err := early.Commit(anEnvelope()); err != nil {
		t.Fatal(err)
	}
	rec, err := parseMessage([]byte(firstMessage(t, m)))
	if err != nil || !rec.large || rec.size != int64(len(content)) || !bytes.Equal([]byte(m.octets("large/"+string(early.ID()))), content) {
		t.Errorf("got the record %+v, %v; want its file with the content", rec, err)
	}
	for _, in := range all {
		in.Abort()
	}
	if held := w.held.Load(); held != 0 {
		t.Errorf("got %d octets held at the end, want none", held)
	}
}
