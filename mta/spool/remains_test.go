package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

// room is what a segment has allocated behind its last record.
var room = make([]byte, 5000)

// dead is a segment of another boot: a message with its commit record, and one, of some sectors, whose commit record
// the loss of power took.
func dead(kinds ...kind) (x *builder, last int64) {
	x = newBuilder(segmentHeader{V: segmentVersion, Boot: "earlier", Writer: writerSMTPD, Run: 1, Nonce: 5})
	x.message(idA, "first\r\n")
	x.commit()
	last = int64(len(x.b))
	if len(kinds) == 0 {
		x.message(idB, strings.Repeat("line of the second\r\n", 100))
	}
	for _, k := range kinds {
		x.add(k, []byte(`{"id":"`+string(idB)+`"}`))
	}
	return x, last
}

func remainsOf(t *testing.T, b []byte, off int64, powered bool) remains {
	t.Helper()
	r := &segmentReader{f: mem(b)}
	if err := r.header(); err != nil {
		t.Fatal(err)
	}
	r.off = off
	what, end, err := r.remains(powered)
	if used := int64(len(bytes.TrimRight(b, "\x00"))); err != nil || end != max(used, off) {
		t.Fatalf("got the end %d, %v; want %d", end, err, max(used, off))
	}
	return what
}

func TestWhatHasRottenIsToldFromWhatIsTorn(t *testing.T) {
	for _, kinds := range [][]kind{nil, {kindResult}, {kindFinished}} {
		x, last := dead(kinds...)
		for _, behind := range [][]byte{nil, room} {
			for n := last; n <= int64(len(x.b)); n++ {
				b := append(bytes.Clone(x.b[:n]), behind...)
				want := torn
				if n == last || behind != nil && len(bytes.TrimRight(x.b[last:n], "\x00")) == 0 {
					want = unused
				}
				if got := remainsOf(t, b, last, true); n < int64(len(x.b)) && got != want {
					t.Fatalf("%c cut at %d, %d behind: got %d, want %d", kinds, n, len(behind), got, want)
				}
			}
			for at := last; at < int64(len(x.b)); at++ {
				b := append(bytes.Clone(x.b), behind...)
				b[at] ^= 1
				// A greater length, and nothing else, looks like the beginning of a longer record.
				want := rotten
				if at >= last+8 && at < last+12 && int64(binary.LittleEndian.Uint32(b[last+8:]))+recordHead > int64(len(x.b))-last {
					want = torn
				}
				if got := remainsOf(t, b, last, true); got != want {
					t.Fatalf("%c with octet %d changed, %d behind: got %d, want %d", kinds, at-last, len(behind), got, want)
				}
			}
		}
	}
	x, last := dead()
	for from := (last + sector) / sector * sector; from < int64(len(x.b)); from += sector {
		b := append(bytes.Clone(x.b), room...)
		clear(b[from:min(from+sector, int64(len(x.b)))])
		if got := remainsOf(t, b, last, true); got != torn {
			t.Errorf("without the sector at %d: got %d, want torn", from, got)
		}
	}
}

// A commit record ends in zeros: where the power may have failed, a part of it looks like one that has rotted.
func TestACommitRecordThatIsNotWholeIsTornWhereThePowerMayHaveFailed(t *testing.T) {
	x, _ := dead()
	at := x.commit() // its number has two octets
	for powered, want := range map[bool]remains{true: torn, false: rotten} {
		b := append(bytes.Clone(x.b[:at+recordHead+1]), room...)
		if b[at+recordHead] == 0 || x.b[at+recordHead+1] == 0 {
			t.Fatalf("the commit record's number begins with %x", x.b[at+recordHead:at+recordHead+2])
		}
		if got := remainsOf(t, b, at, powered); got != want {
			t.Errorf("powered %v: got %d, want %d", powered, got, want)
		}
	}
}

// rest delivers all that s has, and lets it reclaim what is not needed.
func (m *machine) rest(s *Store) (ids []mta.ID) {
	m.t.Helper()
	for _, x := range s.Outstanding() {
		ids = append(ids, x.ID())
		s.Record(x, 0, Result{Outcome: mta.Outcome{Status: mta.Delivered}})
	}
	for range 6 {
		m.tidy(s)
	}
	return ids
}

func TestALastMessageThatHasRottenIsKeptForThePostmaster(t *testing.T) {
	m := newMachine(t)
	x, last := dead()
	end := int64(len(x.b))
	x.message(idC, "third\r\n")
	x.b[last+recordHead+200] ^= 0x20
	name := string(idA) + ".seg"
	m.write("incoming/"+name, append(x.b, room...))
	m.write("large/"+string(idB)+"X1", []byte("perhaps of the damaged one"))
	if r := m.check(); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], fmt.Sprintf("%d octets at %d are damaged", end-last, last)) {
		t.Errorf("check: got %q", r.Problems)
	}
	var log bytes.Buffer
	s := m.open(&log)
	if got, want := m.rest(s), []mta.ID{idA, idC}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	saved := fmt.Sprintf("%s.%d", name, last)
	if got := m.list("corrupt"); !slices.Equal(got, []string{saved}) || !bytes.Equal(m.octets("corrupt/"+saved), x.b[last:end]) {
		t.Errorf("corrupt/ has %v, want %s with the record", got, saved)
	}
	want := fmt.Sprintf("level=error event=spool-damaged file=%s/incoming/%s offset=%d length=%d saved=%s/corrupt/%s\n", root, name, last, end-last, root, saved)
	if strings.Count(log.String(), "event=spool-damaged") != 1 || !strings.Contains(log.String(), want) || strings.Contains(log.String(), "spool-torn") {
		t.Errorf("got the log\n%s\nwant once\n%s", &log, want)
	}
	if got := m.list("incoming"); len(got) > 0 || len(m.list("large")) != 1 {
		t.Errorf("then: incoming/ has %v, large/ %v; want nothing, and what may belong to the damaged record", got, m.list("large"))
	}
	if err := m.disk.Process("hand").Remove(root + "/corrupt/" + saved); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		m.tidy(s)
	}
	if got := m.list("large"); len(got) > 0 {
		t.Errorf("without the copy: large/ has %v, want nothing", got)
	}
}

// The commit record of this boot is what says that a message was accepted.
func TestAMessageWhoseCommitRecordHasRottenIsKept(t *testing.T) {
	m := newMachine(t)
	x := newBuilder(someHeader)
	x.message(idA, "first\r\n")
	x.commit()
	second := x.message(idB, "second\r\n")
	at := x.commit()
	x.b[at+recordHead] ^= 4
	name := string(idA) + ".seg"
	m.write("incoming/"+name, append(x.b, room...))
	var log bytes.Buffer
	s := m.open(&log)
	if got := m.rest(s); !slices.Equal(got, []mta.ID{idA}) {
		t.Errorf("got %v, want the first alone", got)
	}
	saved := m.list("corrupt")
	if len(saved) != 1 || !bytes.Equal(m.octets("corrupt/"+saved[0]), bytes.TrimRight(x.b[second:], "\x00")) {
		t.Errorf("corrupt/ has %v, want the second message and its commit record", saved)
	}
	if strings.Count(log.String(), "event=spool-damaged") != 1 {
		t.Errorf("got the log\n%s, want spool-damaged once", &log)
	}
}

func TestATornTailIsSaidQuietly(t *testing.T) {
	x, last := dead()
	for n, want := range map[int64]int{last: 0, last + 300: 1, (last + sector) / sector * sector: 1, int64(len(x.b)) - 1: 1} {
		m := newMachine(t)
		m.write("incoming/"+string(idA)+".seg", append(bytes.Clone(x.b[:n]), room...))
		j := newBuilder(segmentHeader{V: segmentVersion, Boot: "earlier", Writer: writerJournal, Nonce: 7})
		j.add(kindFinished, []byte(idC))
		if want > 0 {
			j.b = append(j.b, x.b[last:last+20]...)
		}
		m.write("journal/"+string(idA)+".seg", append(j.b, room...))
		var log bytes.Buffer
		s := m.open(&log)
		if got := m.rest(s); !slices.Equal(got, []mta.ID{idA}) {
			t.Errorf("cut at %d: got %v, want the first message", n-last, got)
		}
		text := log.String()
		if strings.Contains(text, "level=error") || strings.Count(text, "level=info event=spool-torn") != 2*want || len(m.list("corrupt")) > 0 {
			t.Errorf("cut at %d: got corrupt/ %v and the log\n%s\nwant spool-torn %d times and no error", n-last, m.list("corrupt"), text, 2*want)
		}
	}
}

func TestALastResultThatHasRottenIsKept(t *testing.T) {
	for _, more := range []bool{false, true} {
		m := newMachine(t)
		j := newBuilder(segmentHeader{V: segmentVersion, Boot: "earlier", Writer: writerJournal, Nonce: 7})
		bad := j.add(kindFinished, []byte(idC))
		end := int64(len(j.b))
		if more {
			j.add(kindFinished, []byte(idB))
		}
		j.b[bad+recordHead+3] ^= 1
		m.write("journal/"+string(idA)+".seg", append(j.b, room...))
		if r := m.check(); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "are damaged") {
			t.Errorf("check: got %q", r.Problems)
		}
		var log bytes.Buffer
		m.open(&log)
		saved := m.list("corrupt")
		if len(saved) != 1 || !bytes.Equal(m.octets("corrupt/"+saved[0]), j.b[bad:end]) || strings.Count(log.String(), "event=spool-damaged") != 1 {
			t.Errorf("more %v: corrupt/ has %v, want the record; the log is\n%s", more, saved, &log)
		}
	}
}

// While there is no room for a copy the segment is the only one.
func TestADamagedSegmentStaysUntilThereIsACopy(t *testing.T) {
	m := newMachine(t)
	x, last := dead()
	x.b[last+recordHead+200] ^= 0x20
	m.write("incoming/"+string(idA)+".seg", append(bytes.Clone(x.b), room...))
	m.disk.Hook = func(op simdisk.Op) error {
		if op.Name == "write" && strings.Contains(op.Path, "/corrupt/") {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}
	s := m.open(&bytes.Buffer{})
	m.rest(s)
	s.Close()
	if got := m.list("incoming"); len(got) != 1 {
		t.Fatalf("with a full disk: incoming/ has %v, want the segment", got)
	}
	m.disk.Hook = nil
	s = m.open(&bytes.Buffer{})
	m.rest(s)
	saved := m.list("corrupt")
	if len(saved) != 1 || !bytes.Equal(m.octets("corrupt/"+saved[0]), x.b[last:]) || len(m.list("incoming")) > 0 {
		t.Errorf("then: corrupt/ has %v, incoming/ %v; want the record, and the segment gone", saved, m.list("incoming"))
	}
}
