package spool

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// How much of a segment is read at once: by who goes on to the next record, and by who wants one. A longer record is read by
// itself.
const (
	readAhead = 64 << 10
	readOne   = 8 << 10
)

// segmentReader reads the records of one segment in order, also while its writer goes on.
type segmentReader struct {
	f     durable.File
	hdr   segmentHeader
	off   int64  // of the next record
	buf   []byte // octets from bufAt on
	bufAt int64
	ahead int64 // 0: readAhead
}

// openSegment opens a segment and reads its header: errBadRecord where there is none, mta.ErrNewer for a newer format.
func openSegment(fsys durable.FS, path string) (*segmentReader, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	r := &segmentReader{f: f}
	if err := r.header(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func (r *segmentReader) header() error {
	k, b, _, err := r.next()
	if err != nil {
		return err
	}
	if k != kindHeader {
		return errBadRecord
	}
	if err := json.Unmarshal(b, &r.hdr); err != nil {
		return fmt.Errorf("%w: header: %w", errBadRecord, err)
	}
	if r.hdr.V > segmentVersion {
		return fmt.Errorf("segment version %d: %w", r.hdr.V, mta.ErrNewer)
	}
	return nil
}

// next returns the record at r.off and steps behind it; payload is good until the next call. errBadRecord: there is
// no whole record there (yet).
func (r *segmentReader) next() (k kind, payload []byte, off int64, err error) {
	for fresh := false; ; fresh = true {
		k, payload, n, err := r.try()
		if err == nil {
			off, r.off = r.off, r.off+n
			return k, payload, off, nil
		}
		if !errors.Is(err, errBadRecord) || fresh {
			return 0, nil, r.off, err
		}
		r.buf = r.buf[:0] // read ahead while it was being written: look again
	}
}

func (r *segmentReader) try() (kind, []byte, int64, error) {
	head, err := r.bytes(recordHead)
	if err != nil {
		return 0, nil, 0, err
	}
	n, err := recordLen(head)
	if err != nil {
		return 0, nil, 0, err
	}
	b, err := r.bytes(n)
	if err != nil {
		return 0, nil, 0, err
	}
	k, payload, err := parseRecord(b, r.hdr.Nonce, r.off)
	return k, payload, n, err
}

// bytes returns n octets from r.off; errBadRecord when the file has fewer.
func (r *segmentReader) bytes(n int64) ([]byte, error) {
	if r.off < r.bufAt || r.off+n > r.bufAt+int64(len(r.buf)) {
		ahead := cmp.Or(r.ahead, readAhead)
		if want := max(n, ahead); int64(cap(r.buf)) < want || want == ahead && int64(cap(r.buf)) > 8*ahead {
			size, err := r.f.Size() // a damaged length must not cost memory
			if err != nil {
				return nil, err
			}
			if r.off+n > size {
				return nil, errBadRecord
			}
			r.buf = make([]byte, want)
		}
		r.buf = r.buf[:max(n, ahead)]
		got, err := r.f.ReadAt(r.buf, r.off)
		r.buf, r.bufAt = r.buf[:got], r.off
		if err != nil && !errors.Is(err, io.EOF) {
			r.buf = r.buf[:0]
			return nil, err
		}
		if int64(got) < n {
			return nil, errBadRecord
		}
	}
	i := r.off - r.bufAt
	return r.buf[i : i+n], nil
}

// damaged looks behind the bad octets at r.off of a segment that nobody writes any more. When a commit record there
// says that these octets were once on the disk, it returns where the next good record begins; otherwise they are a
// torn tail, and ok is false.
func (r *segmentReader) damaged() (resume int64, ok bool, err error) {
	return r.behind(func(k kind, b []byte) bool { return k == kindCommit && commitOffset(b) > r.off })
}

// resume returns where the next good record begins, for a segment without commit records.
func (r *segmentReader) resume() (resume int64, ok bool, err error) {
	return r.behind(func(kind, []byte) bool { return true })
}

// behind returns the first good record behind r.off if it or a later one satisfies proof.
func (r *segmentReader) behind(proof func(kind, []byte) bool) (resume int64, ok bool, err error) {
	size, err := r.f.Size()
	if err != nil {
		return 0, false, err
	}
	probe := &segmentReader{f: r.f, hdr: r.hdr, off: r.off + 1}
	for {
		found, err := probe.seek(size)
		if err != nil || !found {
			return 0, false, err
		}
		k, b, off, err := probe.next()
		switch {
		case errors.Is(err, errBadRecord):
			probe.off++
			continue
		case err != nil:
			return 0, false, err
		}
		if resume == 0 {
			resume = off
		}
		if proof(k, b) {
			return resume, true, nil
		}
	}
}

// seek moves r.off to the next octets that may begin a record.
func (r *segmentReader) seek(size int64) (bool, error) {
	for r.off+recordHead <= size {
		b, err := r.bytes(min(readAhead, size-r.off))
		if err != nil {
			return false, err
		}
		if i := bytes.Index(b, recordMagic); i >= 0 {
			r.off += int64(i)
			return true, nil
		}
		r.off += int64(len(b)) - int64(len(recordMagic)) + 1
	}
	return false, nil
}

// commitOffset is the payload of a commit record, 0 when it is none.
func commitOffset(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b))
}
