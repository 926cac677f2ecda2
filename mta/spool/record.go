package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is a head of 16 octets and a payload:
//
//	0  magic     4 octets
//	4  kind      1 octet, then 3 zeros
//	8  length    of the payload, 32 bits, little-endian
//	12 checksum  CRC-32C over the segment's nonce, the record's offset, octets 0 to 11 and the payload
//
// The nonce is random for each segment, so that octets of a message can never pass for a record of the segment that
// holds them.
type kind byte

const (
	kindHeader    kind = 'H' // the first record of a segment: JSON, segmentHeader
	kindMessage   kind = 'M' // messageRecord
	kindCommit    kind = 'C' // 8 octets: the offset that a sync has covered
	kindWithdrawn kind = 'W' // an id
	kindClose     kind = 'X' // the writer is done with the segment
	kindResult    kind = 'R' // JSON, entry: a recipient's result or expansion
	kindReported  kind = 'P' // JSON, entry: the recipients that a report told of
	kindFinished  kind = 'F' // an id
)

const (
	recordHead = 16
	// maxPayload bounds what a reader believes of a length. A message record holds at most LargeSize octets of content
	// and an envelope, whose recipients smtpd bounds.
	maxPayload = 32 << 20
)

var (
	recordMagic = []byte{0xb7, 'P', 'H', '1'}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// errBadRecord says that there is no whole record at an offset.
var errBadRecord = errors.New("no valid record")

// appendRecord appends to dst the record that will stand at offset off of a segment.
func appendRecord(dst []byte, nonce uint64, off int64, k kind, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	head := len(dst)
	dst = append(dst, recordMagic...)
	dst = append(dst, byte(k), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	rec := dst[head:]
	binary.LittleEndian.PutUint32(rec[12:], checksum(nonce, off, rec[:12], rec[recordHead:]))
	return dst
}

func checksum(nonce uint64, off int64, head, payload []byte) uint32 {
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], nonce)
	binary.LittleEndian.PutUint64(seed[8:], uint64(off))
	c := crc32.Update(0, castagnoli, seed[:])
	c = crc32.Update(c, castagnoli, head)
	return crc32.Update(c, castagnoli, payload)
}

// recordLen reads the length of the record that begins with head (16 octets), head included.
func recordLen(head []byte) (int64, error) {
	if len(head) < recordHead || !bytes.Equal(head[:4], recordMagic) || head[5]|head[6]|head[7] != 0 {
		return 0, errBadRecord
	}
	n := binary.LittleEndian.Uint32(head[8:])
	if n > maxPayload {
		return 0, errBadRecord
	}
	return recordHead + int64(n), nil
}

// parseRecord checks the record in b (exactly recordLen octets) that stands at offset off.
func parseRecord(b []byte, nonce uint64, off int64) (kind, []byte, error) {
	n, err := recordLen(b)
	if err != nil || n != int64(len(b)) || checksum(nonce, off, b[:12], b[recordHead:]) != binary.LittleEndian.Uint32(b[12:]) {
		return 0, nil, errBadRecord
	}
	return kind(b[4]), b[recordHead:], nil
}

// A message record is the length of the envelope (32 bits), a flag, the envelope (JSON), and the content; in place of
// a large content its length (64 bits) and CRC-32C.
type messageRecord struct {
	envelope []byte
	content  []byte
	large    bool
	size     int64
	sum      uint32
}

const (
	messageHead = 5
	largeRef    = 12
)

func (m messageRecord) head() []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(m.envelope)))
	if m.large {
		return append(b, 1)
	}
	return append(b, 0)
}

func (m messageRecord) tail() []byte {
	if !m.large {
		return m.content
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(m.size))
	return binary.LittleEndian.AppendUint32(b, m.sum)
}

func parseMessage(b []byte) (messageRecord, error) {
	if len(b) < messageHead || b[4] > 1 {
		return messageRecord{}, errBadRecord
	}
	n := int64(binary.LittleEndian.Uint32(b))
	rest := b[messageHead:]
	if n > int64(len(rest)) {
		return messageRecord{}, errBadRecord
	}
	m := messageRecord{envelope: rest[:n], large: b[4] == 1}
	rest = rest[n:]
	if !m.large {
		m.content, m.size = rest, int64(len(rest))
		return m, nil
	}
	if len(rest) != largeRef {
		return messageRecord{}, errBadRecord
	}
	m.size, m.sum = int64(binary.LittleEndian.Uint64(rest)), binary.LittleEndian.Uint32(rest[8:])
	if m.size < 0 {
		return messageRecord{}, errBadRecord
	}
	return m, nil
}
