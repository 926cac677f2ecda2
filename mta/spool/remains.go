package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// remains is what stands at the end of a segment that nobody writes any more, and that no commit record proves.
type remains uint8

const (
	unused remains = iota // zeros: room that was allocated and not needed
	torn                  // a write that a death or a loss of power has cut short: nobody was told that it was done
	rotten                // a record that was written to its end, and is not what was written
)

// sector is the least that a disk writes at once, and so the least that a loss of power leaves out.
const sector = 512

// remains looks at the bad octets at r.off; end is behind the last octet of the segment that is not zero. What has changed
// since it was written and looks as if it had been cut short, a sector of zeros, cannot be told from that. When the
// power may have failed, a commit record cannot either, and nothing depends on it.
func (r *segmentReader) remains(powered bool) (what remains, end int64, err error) {
	if end, err = r.used(); err != nil || end == r.off {
		return unused, end, err
	}
	whole, err := r.wasWhole(powered)
	if whole {
		return rotten, end, err
	}
	return torn, end, err
}

// used returns the offset behind the last octet that is not zero, or r.off.
func (r *segmentReader) used() (int64, error) {
	b := make([]byte, readAhead)
	end := r.off
	for at := r.off; ; {
		n, err := r.f.ReadAt(b, at)
		if i := len(bytes.TrimRight(b[:n], "\x00")); i > 0 {
			end = at + int64(i)
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// wasWhole says that the bad record at r.off was written to its end once: a write is cut short at its end, and a loss of
// power leaves out whole sectors of it.
func (r *segmentReader) wasWhole(powered bool) (bool, error) {
	r.buf = r.buf[:0]
	head, err := r.bytes(recordHead)
	if err != nil {
		return false, shorter(err)
	}
	n, err := recordLen(head)
	if err != nil {
		return !bytes.Equal(head[12:], make([]byte, 4)) && !lacksSector(head, r.off), nil
	}
	b, err := r.bytes(n)
	if err != nil {
		return false, shorter(err)
	}
	if _, _, err := parseRecord(b, r.hdr.Nonce, r.off); err == nil {
		return false, nil // its writer has just ended it
	}
	if kind(b[4]) == kindCommit && n == recordHead+8 { // its number ends in zeros
		return !powered && binary.LittleEndian.Uint64(b[recordHead:]) != 0, nil
	}
	return b[n-1] != 0 && !lacksSector(b, r.off), nil
}

// shorter takes the end of the file for what it says of a record: that it is not whole.
func shorter(err error) error {
	if errors.Is(err, errBadRecord) {
		return nil
	}
	return err
}

// lacksSector says that what b, which stands at offset off, has of a sector is all zeros.
func lacksSector(b []byte, off int64) bool {
	for len(b) > 0 {
		n := min(int64(len(b)), sector-off%sector)
		if len(bytes.TrimLeft(b[:n], "\x00")) == 0 {
			return true
		}
		b, off = b[n:], off+n
	}
	return false
}
