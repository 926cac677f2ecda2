package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

// readAll reads a segment's octets to the end as start-up does: over damage that a commit record proves, and with
// unproved over any other, as in a journal. The number of steps is bounded by the size.
func readAll(t *testing.T, b []byte, unproved bool) (got []written, damaged []int64) {
	t.Helper()
	r := &segmentReader{f: mem(b)}
	if err := r.header(); err != nil {
		return nil, nil
	}
	for range len(b) + 2 {
		k, p, off, err := r.next()
		if c := cap(r.buf); c > readAhead+len(b) {
			t.Fatalf("the reader keeps %d octets for a file of %d", c, len(b))
		}
		if err == nil {
			got = append(got, written{off, k, string(p)})
			continue
		}
		if !errors.Is(err, errBadRecord) {
			t.Fatal(err)
		}
		resume, ok, err := r.damaged()
		if err == nil && ok {
			damaged = append(damaged, r.off)
		} else if err == nil && unproved {
			resume, ok, err = r.resume()
		}
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return got, damaged
		}
		if resume <= r.off {
			t.Fatalf("reading resumes at %d from %d", resume, r.off)
		}
		r.off = resume
	}
	t.Fatalf("no end after %d steps", len(b)+2)
	return nil, nil
}

// some is a segment of three messages, each committed, and what it holds behind its header.
func some() *builder {
	x := newBuilder(someHeader)
	x.message(idA, "first\r\n")
	x.commit()
	x.message(idB, "second\r\n")
	x.commit()
	x.message(idC, "third\r\n")
	x.commit()
	x.add(kindClose)
	return x
}

func TestASegmentIsReadInOrder(t *testing.T) {
	x := some()
	got, damaged := readAll(t, x.b, false)
	if !slices.Equal(got, x.recs[1:]) || len(damaged) > 0 {
		t.Errorf("got %v, damage at %v; want %v", got, damaged, x.recs[1:])
	}
}

func TestATornTailOfEachLengthEndsASegment(t *testing.T) {
	x := some()
	last := x.recs[len(x.recs)-3] // the third message
	for _, fill := range []string{"", "\x00", "\xff", string(recordMagic)} {
		for n := last.off; n < last.off+recordHead+int64(len(last.payload)); n++ {
			b := append(bytes.Clone(x.b[:n]), strings.Repeat(fill, 300)...)
			got, damaged := readAll(t, b, false)
			if want := x.recs[1 : len(x.recs)-3]; !slices.Equal(got, want) || len(damaged) > 0 {
				t.Fatalf("cut at %d, then %q: got %v, damage at %v; want %v", n, fill, got, damaged, want)
			}
		}
	}
}

func TestDamageInTheMiddleIsPassedOverOnlyWhereACommitProvesIt(t *testing.T) {
	x := some()
	second := x.recs[3]
	bad := bytes.Clone(x.b)
	bad[second.off+recordHead] ^= 1
	got, damaged := readAll(t, bad, false)
	want := slices.Concat(x.recs[1:3], x.recs[4:])
	if !slices.Equal(got, want) || !slices.Equal(damaged, []int64{second.off}) {
		t.Errorf("got %v, damage at %v; want %v", got, damaged, want)
	}
	// Without a commit record behind it, it may never have been on the disk: a torn tail.
	y := newBuilder(someHeader)
	y.message(idA, "first\r\n")
	y.commit()
	hole := y.message(idB, "second\r\n")
	y.message(idC, "third\r\n")
	y.b[hole+recordHead] ^= 1
	if got, damaged := readAll(t, y.b, false); !slices.Equal(got, y.recs[1:3]) || len(damaged) > 0 {
		t.Errorf("without a commit: got %v, damage at %v; want %v", got, damaged, y.recs[1:3])
	}
	// Nor when the commit record behind it covers only what stands before it.
	y.add(kindCommit, binary.LittleEndian.AppendUint64(nil, uint64(hole)))
	if got, damaged := readAll(t, y.b, false); !slices.Equal(got, y.recs[1:3]) || len(damaged) > 0 {
		t.Errorf("with an earlier commit: got %v, damage at %v; want %v", got, damaged, y.recs[1:3])
	}
	// A journal's records are true wherever they stand.
	if got, _ := readAll(t, y.b, true); !slices.Equal(got, slices.Concat(y.recs[1:3], y.recs[4:])) {
		t.Errorf("as a journal: got %v", got)
	}
}

func TestZerosInTheMiddleAreDamageToo(t *testing.T) {
	x := some()
	for n := 1; n < 200; n++ {
		b := bytes.Clone(x.b)
		from := int(x.recs[3].off)
		clear(b[from:min(from+n, len(b))])
		got, _ := readAll(t, b, false)
		for _, g := range got {
			if !slices.Contains(x.recs, g) {
				t.Fatalf("%d zeros: got %v, which nobody wrote", n, g)
			}
		}
		if end := x.recs[5].off; int64(from+n) <= end && !slices.Contains(got, x.recs[5]) {
			t.Fatalf("%d zeros before it: the third message is not found again", n)
		}
	}
}

// A sender chooses its message's octets. Whatever they are, and wherever a search for the next record begins, they are
// never taken for a record.
func TestNoContentPassesForARecord(t *testing.T) {
	for name, content := range map[string]func(x *builder, at int64) []byte{
		"a copy of the segment so far": func(x *builder, _ int64) []byte { return bytes.Clone(x.b) },
		"another segment's record, for this very place": func(_ *builder, at int64) []byte {
			m := messageRecord{envelope: envelopeOf(idC, 2), content: []byte("\r\n")}
			return appendRecord(nil, 99, at, kindMessage, m.head(), m.envelope, m.tail())
		},
		"a commit record with the header's nonce": func(_ *builder, at int64) []byte {
			return appendRecord(nil, 0, at, kindCommit, []byte("\xff\xff\xff\xff\xff\xff\xff\x7f"))
		},
		"heads of endless records": func(*builder, int64) []byte {
			return bytes.Repeat(append(bytes.Clone(recordMagic), 'M', 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), 100)
		},
	} {
		for damage := range 3 { // none, of the head, of a length
			x := newBuilder(someHeader)
			x.message(idA, "first\r\n")
			x.commit()
			size := int64(len(content(x, 0))) // the same wherever it stands
			at := int64(len(x.b)) + recordHead + messageHead + int64(len(envelopeOf(idB, size)))
			evil := x.message(idB, string(content(x, at)))
			x.commit()
			x.message(idC, "third\r\n")
			x.commit()
			b := bytes.Clone(x.b)
			switch damage {
			case 1:
				b[evil] ^= 1
			case 2:
				b[evil+8] ^= 1
			}
			got, _ := readAll(t, b, damage%2 == 0)
			for _, g := range got {
				if !slices.Contains(x.recs, g) {
					t.Errorf("%s, damage %d: got %v, which is the sender's", name, damage, g)
				}
			}
			if !slices.Contains(got, x.recs[len(x.recs)-2]) {
				t.Errorf("%s, damage %d: the message behind it is not found", name, damage)
			}
		}
	}
}

func TestARecordThatIsBeingWrittenIsReadOnceItIsWhole(t *testing.T) {
	x := some()
	second := x.recs[3]
	f := &growing{b: x.b, n: second.off + 20}
	r := &segmentReader{f: f}
	if err := r.header(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if k, _, off, err := r.next(); !errors.Is(err, errBadRecord) || off != second.off {
			t.Fatalf("got %c at %d, %v; want nothing yet", k, off, err)
		}
	}
	f.n = int64(len(x.b))
	if k, p, off, err := r.next(); err != nil || (written{off, k, string(p)}) != second {
		t.Errorf("got %c %q at %d, %v; want %v", k, p, off, err, second)
	}
}

// growing is a file of which a reader sees the first n octets, and zeros behind them.
type growing struct {
	memFile
	b []byte
	n int64
}

func (g *growing) ReadAt(p []byte, off int64) (int, error) {
	b := append(bytes.Clone(g.b[:g.n]), make([]byte, int64(len(g.b))-g.n)...)
	return mem(b).ReadAt(p, off)
}
func (g *growing) Size() (int64, error) { return int64(len(g.b)), nil }

func TestAHeaderIsRefused(t *testing.T) {
	newer := someHeader
	newer.V = segmentVersion + 1
	notJSON := &builder{}
	notJSON.add(kindHeader, []byte("{"))
	noHeader := &builder{}
	noHeader.add(kindFinished, []byte(idA))
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":             {nil, errBadRecord},
		"zeros":             {make([]byte, 4096), errBadRecord},
		"text":              {[]byte(strings.Repeat("Subject: x\r\n", 100)), errBadRecord},
		"half a header":     {newBuilder(someHeader).b[:30], errBadRecord},
		"not JSON":          {notJSON.b, errBadRecord},
		"another record":    {noHeader.b, errBadRecord},
		"a newer version":   {newBuilder(newer).b, mta.ErrNewer},
		"a huge length":     {append(bytes.Clone(recordMagic), 'H', 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0), errBadRecord},
		"an endless header": {append(bytes.Clone(recordMagic), 'H', 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0), errBadRecord},
	} {
		r := &segmentReader{f: mem(c.b)}
		if err := r.header(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if cap(r.buf) > readAhead {
			t.Errorf("%s: the reader took %d octets", name, cap(r.buf))
		}
	}
}

// FuzzSegment: behind a valid header stands a valid segment that was changed. No record is returned that was not
// written there; reading ends, in bounded memory.
func FuzzSegment(f *testing.F) {
	f.Add([]byte("\xb7PH1M\x00\x00\x00\x02\x00\x00\x00abcdef"), uint16(0), uint16(0xffff), byte(1))
	f.Add([]byte{1}, uint16(130), uint16(0xffff), byte(2))
	f.Add(make([]byte, 40), uint16(150), uint16(700), byte(4))
	f.Add(newBuilder(someHeader).b, uint16(120), uint16(0xffff), byte(8))
	f.Add([]byte{1}, uint16(130), uint16(0xffff), byte(16))
	f.Fuzz(func(t *testing.T, data []byte, at, cut uint16, mode byte) {
		x := some()
		b := bytes.Clone(x.b)
		i := min(int(at), len(b))
		if mode&1 != 0 { // anything behind the header
			b = append(b[:x.recs[1].off], data...)
		}
		i = min(i, len(b))
		if mode&2 != 0 { // other octets
			for j := 0; j < len(data) && i+j < len(b); j++ {
				b[i+j] ^= data[j]
			}
		}
		if mode&4 != 0 { // written over
			copy(b[i:], data)
		}
		if mode&8 != 0 { // put between
			b = slices.Insert(b, i, data...)
		}
		if mode&16 != 0 { // taken out
			b = slices.Delete(b, i, min(i+len(data), len(b)))
		}
		b = b[:min(int(cut), len(b))]
		for _, unproved := range []bool{false, true} {
			got, _ := readAll(t, b, unproved)
			last := int64(-1)
			for _, g := range got {
				if !slices.Contains(x.recs, g) {
					t.Fatalf("%s was never written", fmt.Sprintf("%c %q at %d", g.kind, g.payload, g.off))
				}
				if g.off <= last {
					t.Fatalf("the record at %d comes after the one at %d", g.off, last)
				}
				last = g.off
			}
		}
	})
}
