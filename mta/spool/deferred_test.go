package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

func smallRecord() messageRecord {
	return messageRecord{content: []byte("Subject: x\r\n\r\ntext\r\n"), size: 20}
}

// goodDeferred is a whole deferred file.
func goodDeferred() []byte { return encodeDeferred(envelopeOf(idA, 20), smallRecord()) }

// reseal gives a deferred file the checksum of what it holds now.
func reseal(b []byte) []byte {
	at := len(b) - footerSize + 32
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[:at], castagnoli))
	return b
}

func TestADeferredFileComesBackAsItWas(t *testing.T) {
	env, rec, err := readDeferred(mem(goodDeferred()))
	if err != nil || env.ID != idA || string(rec.content) != string(smallRecord().content) || rec.large || rec.size != 20 {
		t.Errorf("got %+v, %+v, %v", env, rec, err)
	}
	large := encodeDeferred(envelopeOf(idA, 1<<20), messageRecord{large: true, size: 1 << 20, sum: 77})
	env, rec, err = readDeferred(mem(large))
	if err != nil || env.ID != idA || !rec.large || rec.size != 1<<20 || rec.sum != 77 || len(rec.content) != 0 {
		t.Errorf("large: got %+v, %+v, %v", env, rec, err)
	}
	empty := encodeDeferred(envelopeOf(idA, 0), messageRecord{})
	if _, rec, err := readDeferred(mem(empty)); err != nil || rec.size != 0 || rec.large {
		t.Errorf("empty: got %+v, %v", rec, err)
	}
}

func TestAPersonCanReadADeferredFile(t *testing.T) {
	b := goodDeferred()
	want := slices.Concat(smallRecord().content, envelopeOf(idA, 20), []byte("\n"))
	if got := b[:len(b)-footerSize]; !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q: message, envelope, line feed", got, want)
	}
	foot := b[len(b)-footerSize:]
	if string(foot[:8]) != "PHdefer\x01" || binary.LittleEndian.Uint64(foot[16:]) != uint64(len(envelopeOf(idA, 20))+1) ||
		binary.LittleEndian.Uint64(foot[24:]) != 20 || binary.LittleEndian.Uint32(foot[32:]) != checksumOf(string(b[:len(b)-8])) {
		t.Errorf("got the footer %x", foot)
	}
}

func TestAChangedDeferredFileIsNotWhole(t *testing.T) {
	good := goodDeferred()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if env, _, err := readDeferred(mem(bad)); err == nil {
			t.Errorf("octet %d changed: got %+v", i, env)
		}
	}
	for n := range good {
		if env, _, err := readDeferred(mem(good[:n])); !errors.Is(err, errBadDeferred) {
			t.Errorf("%d octets of %d: got %+v, %v", n, len(good), env, err)
		}
	}
	for name, bad := range map[string][]byte{
		"zeros":            make([]byte, len(good)),
		"zeros behind it":  append(bytes.Clone(good), make([]byte, 512)...),
		"another before":   slices.Concat(good, good),
		"an octet between": slices.Insert(bytes.Clone(good), 5, 'x'),
	} {
		if env, _, err := readDeferred(mem(bad)); !errors.Is(err, errBadDeferred) {
			t.Errorf("%s: got %+v, %v", name, env, err)
		}
	}
}

// A file whose checksum is right may still say nonsense: who could write to the spool could make one.
func TestADeferredFileThatContradictsItselfIsRefused(t *testing.T) {
	foot := func(change func(foot []byte)) []byte {
		b := goodDeferred()
		change(b[len(b)-footerSize:])
		return reseal(b)
	}
	for name, b := range map[string][]byte{
		"unknown flag":             foot(func(f []byte) { f[8] = 2 }),
		"large with a content":     foot(func(f []byte) { f[8] = 1 }),
		"no version":               foot(func(f []byte) { f[7] = 0 }),
		"content beyond the file":  foot(func(f []byte) { binary.LittleEndian.PutUint64(f[24:], 1<<40) }),
		"negative content":         foot(func(f []byte) { binary.LittleEndian.PutUint64(f[24:], 1<<63) }),
		"content a little shorter": foot(func(f []byte) { binary.LittleEndian.PutUint64(f[24:], 19) }),
		"lengths that wrap round": foot(func(f []byte) {
			binary.LittleEndian.PutUint64(f[16:], 1<<63)
			binary.LittleEndian.PutUint64(f[24:], 1<<63)
		}),
		"not zero at the end":      foot(func(f []byte) { f[39] = 1 }),
		"envelope of another size": encodeDeferred(envelopeOf(idA, 21), smallRecord()),
		"envelope is no JSON":      encodeDeferred([]byte("{"), smallRecord()),
		"envelope without an id":   encodeDeferred([]byte(`{"v":1,"size":20}`), smallRecord()),
		"no envelope":              encodeDeferred(nil, smallRecord()),
	} {
		if env, rec, err := readDeferred(mem(b)); !errors.Is(err, errBadDeferred) {
			t.Errorf("%s: got %+v, %+v, %v; want errBadDeferred", name, env, rec, err)
		}
	}
}

func TestANewerDeferredFileIsNoDamage(t *testing.T) {
	b := goodDeferred()
	b[len(b)-footerSize+7] = footerVersion + 1
	for name, b := range map[string][]byte{
		"footer":   b,
		"envelope": encodeDeferred([]byte(`{"v":2,"id":"`+string(idA)+`","size":20}`), smallRecord()),
	} {
		if _, _, err := readDeferred(mem(b)); !errors.Is(err, mta.ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", name, err)
		}
	}
}

// FuzzDeferred: a changed file is never taken for another message; one with a right checksum that somebody made up is
// refused or consistent.
func FuzzDeferred(f *testing.F) {
	f.Add(goodDeferred(), uint16(0), false)
	f.Add([]byte{1}, uint16(30), false)
	f.Add(goodDeferred(), uint16(0xffff), true)
	f.Add(encodeDeferred(envelopeOf(idA, 1<<20), messageRecord{large: true, size: 1 << 20, sum: 77}), uint16(0xffff), true)
	f.Add(encodeDeferred([]byte(`{"v":1,"id":"`+string(idA)+`","size":-1,"cut":[{"off":0,"len":9}]}`), smallRecord()), uint16(0xffff), true)
	f.Fuzz(func(t *testing.T, data []byte, at uint16, seal bool) {
		good := goodDeferred()
		b := bytes.Clone(data)
		if int(at) <= len(good) {
			b = bytes.Clone(good)
			for j := 0; j < len(data) && int(at)+j < len(b); j++ {
				b[int(at)+j] ^= data[j]
			}
		}
		if seal && len(b) >= footerSize {
			b = reseal(b)
		}
		env, rec, err := readDeferred(mem(b))
		if err != nil {
			if !errors.Is(err, errBadDeferred) && !errors.Is(err, mta.ErrNewer) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if !seal && int(at) <= len(good) && !bytes.Equal(b, good) {
			t.Fatalf("a changed file was taken: %q", b)
		}
		if !rec.large && (int64(len(rec.content)) != env.Size || rec.size != env.Size) || rec.large && len(rec.content) > 0 {
			t.Fatalf("got a content of %d octets, size %d, envelope %d", len(rec.content), rec.size, env.Size)
		}
		if _, err := mta.ParseID(string(env.ID)); err != nil {
			t.Fatal(err)
		}
	})
}
