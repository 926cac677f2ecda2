package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

const (
	idA mta.ID = "0A00000000000AAA"
	idB mta.ID = "0B00000000000BBB"
	idC mta.ID = "0C00000000000CCC"
)

// written is one record of a segment that a test made.
type written struct {
	off     int64
	kind    kind
	payload string
}

// builder makes the octets of a segment.
type builder struct {
	nonce uint64
	b     []byte
	recs  []written
}

func newBuilder(h segmentHeader) *builder {
	x := &builder{}
	head, _ := json.Marshal(h)
	x.add(kindHeader, head)
	x.nonce = h.Nonce
	return x
}

func (x *builder) add(k kind, parts ...[]byte) int64 {
	off := int64(len(x.b))
	x.b = appendRecord(x.b, x.nonce, off, k, parts...)
	x.recs = append(x.recs, written{off, k, string(bytes.Join(parts, nil))})
	return off
}

func (x *builder) message(id mta.ID, content string) int64 {
	rec := messageRecord{envelope: envelopeOf(id, int64(len(content))), content: []byte(content)}
	return x.add(kindMessage, rec.head(), rec.envelope, rec.tail())
}

// commit says that all up to here is synced.
func (x *builder) commit() int64 {
	return x.add(kindCommit, binary.LittleEndian.AppendUint64(nil, uint64(len(x.b))))
}

func envelopeOf(id mta.ID, size int64) []byte {
	env := &mta.Envelope{V: 1, ID: id, Role: mta.RoleMX, Size: size, Rcpts: []mta.Recipient{{Address: mta.Address{Local: "l", Domain: "x"}}}}
	b, err := json.Marshal(env)
	if err != nil {
		panic(err)
	}
	return b
}

var someHeader = segmentHeader{V: segmentVersion, Boot: "boot", Writer: writerSMTPD, Run: 1, Nonce: 0x1122334455667788}

// memFile is a file for reading.
type memFile struct {
	durable.File
	b []byte
}

func (m memFile) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
func (m memFile) Size() (int64, error)                    { return int64(len(m.b)), nil }
func (m memFile) Close() error                            { return nil }

func mem(b []byte) memFile { return memFile{b: b} }

func TestARecordIsReadAtItsPlaceAlone(t *testing.T) {
	const nonce, off = 7, 1000
	b := appendRecord([]byte("before"), nonce, off, kindMessage, []byte("pay"), nil, []byte("load"))[len("before"):]
	if n, err := recordLen(b); err != nil || n != int64(len(b)) || n != recordHead+7 {
		t.Fatalf("recordLen: got %d, %v; want %d", n, err, len(b))
	}
	if k, p, err := parseRecord(b, nonce, off); err != nil || k != kindMessage || string(p) != "payload" {
		t.Errorf("got %c %q, %v", k, p, err)
	}
	if _, _, err := parseRecord(b, nonce, off+1); err == nil {
		t.Error("at another offset: got no error")
	}
	if _, _, err := parseRecord(b, nonce+1, off); err == nil {
		t.Error("with another nonce: got no error")
	}
	for i := range b {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			if k, p, err := parseRecord(bad, nonce, off); err == nil {
				t.Errorf("bit %d of octet %d turned round: got %c %q", bit, i, k, p)
			}
		}
	}
	for n := range b {
		if _, _, err := parseRecord(b[:n], nonce, off); err == nil {
			t.Errorf("%d octets of %d: got no error", n, len(b))
		}
	}
	if _, _, err := parseRecord(append(bytes.Clone(b), 0), nonce, off); err == nil {
		t.Error("an octet more: got no error")
	}
}

func TestTheLayoutOfARecordIsTheDocumentedOne(t *testing.T) {
	got := appendRecord(nil, 0x0807060504030201, 0x10, kindFinished, []byte("AB"))
	want := []byte{0xb7, 'P', 'H', '1', 'F', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'A', 'B'}
	// The checksum covers nonce, offset, head and payload: computed here from one string of octets.
	sum := checksumOf("\x01\x02\x03\x04\x05\x06\x07\x08" + "\x10\x00\x00\x00\x00\x00\x00\x00" + "\xb7PH1F\x00\x00\x00\x02\x00\x00\x00" + "AB")
	binary.LittleEndian.PutUint32(want[12:], sum)
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// checksumOf is CRC-32C bit by bit, apart from the table that the code uses.
func checksumOf(s string) uint32 {
	c := ^uint32(0)
	for _, b := range []byte(s) {
		c ^= uint32(b)
		for range 8 {
			c = c>>1 ^ 0x82f63b78&-(c&1)
		}
	}
	return ^c
}

func TestALengthBeyondAllBoundsIsNotBelieved(t *testing.T) {
	b := appendRecord(nil, 0, 0, kindMessage)
	binary.LittleEndian.PutUint32(b[8:], maxPayload+1)
	if n, err := recordLen(b); err == nil {
		t.Errorf("got %d, want an error", n)
	}
	binary.LittleEndian.PutUint32(b[8:], maxPayload)
	if n, err := recordLen(b); err != nil || n != recordHead+maxPayload {
		t.Errorf("got %d, %v", n, err)
	}
	for _, short := range [][]byte{nil, b[:4], b[:recordHead-1]} {
		if _, err := recordLen(short); err == nil {
			t.Errorf("%x: got no error", short)
		}
	}
}

func TestAMessageRecordComesBackAsItWas(t *testing.T) {
	for name, m := range map[string]messageRecord{
		"inline": {envelope: []byte("{}"), content: []byte("Subject: x\r\n\r\n"), size: 14},
		"empty":  {envelope: []byte("{}"), content: []byte{}, size: 0},
		"large":  {envelope: []byte("{}"), large: true, size: 1 << 40, sum: 0xdeadbeef},
	} {
		b := bytes.Join([][]byte{m.head(), m.envelope, m.tail()}, nil)
		got, err := parseMessage(b)
		if err != nil || string(got.envelope) != "{}" || got.large != m.large || got.size != m.size || got.sum != m.sum || !bytes.Equal(got.content, m.content) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, m)
		}
	}
}

func TestAMessageRecordIsRefused(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":                  "",
		"no flag":                  "\x00\x00\x00\x00",
		"unknown flag":             "\x00\x00\x00\x00\x02",
		"envelope beyond the end":  "\x03\x00\x00\x00\x00{}",
		"envelope of 4 GB":         "\xff\xff\xff\xff\x00{}",
		"large, reference short":   "\x02\x00\x00\x00\x01{}" + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"large, reference long":    "\x02\x00\x00\x00\x01{}" + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"large, of negative size":  "\x02\x00\x00\x00\x01{}" + "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"large, without reference": "\x02\x00\x00\x00\x01{}",
	} {
		if got, err := parseMessage([]byte(b)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}
