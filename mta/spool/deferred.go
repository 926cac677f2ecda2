package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// A deferred file is the content, the envelope as one line of JSON, and the footer: 40 octets, numbers little-endian.
//
//	0  magic and version  "PHdefer" and the version
//	8  flags              32 bits: 1 = the content is in large/ID
//	12 large's checksum   CRC-32C of large/ID
//	16 envelope length    64 bits, line feed included
//	24 content length     64 bits: of what stands here, 0 for a large one
//	32 checksum           CRC-32C of everything before it
//	36 zeros
const (
	footerSize    = 40
	footerMagic   = "PHdefer"
	footerVersion = 1
	footerLarge   = 1
)

var errBadDeferred = errors.New("not a whole deferred file")

type footer struct {
	large    bool
	largeSum uint32
	envelope int64
	content  int64
	sum      uint32
}

func (f footer) encode() []byte {
	b := append(make([]byte, 0, footerSize), footerMagic...)
	b = append(b, footerVersion)
	flags := uint32(0)
	if f.large {
		flags = footerLarge
	}
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, f.largeSum)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.envelope))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.content))
	return b // the checksum and the zeros follow
}

func parseFooter(b []byte, fileSize int64) (footer, error) {
	if len(b) != footerSize || string(b[:7]) != footerMagic {
		return footer{}, errBadDeferred
	}
	if b[7] > footerVersion {
		return footer{}, fmt.Errorf("footer version %d: %w", b[7], mta.ErrNewer)
	}
	flags := binary.LittleEndian.Uint32(b[8:])
	f := footer{
		large:    flags == footerLarge,
		largeSum: binary.LittleEndian.Uint32(b[12:]),
		envelope: int64(binary.LittleEndian.Uint64(b[16:])),
		content:  int64(binary.LittleEndian.Uint64(b[24:])),
		sum:      binary.LittleEndian.Uint32(b[32:]),
	}
	body := fileSize - footerSize
	if b[7] == 0 || flags > footerLarge || f.envelope < 0 || f.content < 0 || f.envelope > maxPayload ||
		f.content > body || f.envelope != body-f.content || f.large && f.content != 0 || binary.LittleEndian.Uint32(b[36:]) != 0 {
		return footer{}, errBadDeferred
	}
	return f, nil
}

// encodeDeferred returns the bytes of a deferred file. Its content is small: a large one is only referred to.
func encodeDeferred(env []byte, rec messageRecord) []byte {
	f := footer{large: rec.large, largeSum: rec.sum, envelope: int64(len(env)) + 1}
	if !rec.large {
		f.content = rec.size
	}
	b := make([]byte, 0, len(rec.content)+len(env)+1+footerSize)
	b = append(b, rec.content...)
	b = append(b, env...)
	b = append(b, '\n')
	b = append(b, f.encode()...)
	sum := crc32.Checksum(b, castagnoli)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, 0, 0, 0, 0)
}

// readDeferred reads and checks a whole deferred file. errBadDeferred when it is not one; mta.ErrNewer when a newer
// program wrote it; other errors come from the disk.
func readDeferred(f durable.File) (*mta.Envelope, messageRecord, error) {
	size, err := f.Size()
	if err != nil {
		return nil, messageRecord{}, err
	}
	if size < footerSize || size > maxPayload {
		return nil, messageRecord{}, errBadDeferred
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, messageRecord{}, err
	}
	ft, err := parseFooter(b[size-footerSize:], size)
	if err != nil {
		return nil, messageRecord{}, err
	}
	if crc32.Checksum(b[:size-footerSize+32], castagnoli) != ft.sum {
		return nil, messageRecord{}, errBadDeferred
	}
	rec := messageRecord{
		envelope: b[ft.content : ft.content+ft.envelope-1],
		content:  b[:ft.content], large: ft.large, sum: ft.largeSum,
	}
	env := new(mta.Envelope)
	if err := json.Unmarshal(rec.envelope, env); err != nil {
		if errors.Is(err, mta.ErrNewer) {
			return nil, messageRecord{}, err
		}
		return nil, messageRecord{}, fmt.Errorf("%w: envelope: %w", errBadDeferred, err)
	}
	rec.size = env.Size
	if !ft.large && ft.content != env.Size {
		return nil, messageRecord{}, errBadDeferred
	}
	return env, rec, nil
}
