package message

import (
	"io"

	"github.com/posthouse-mail/posthouse/mta"
)

// blockSize is how much WriteTo moves at once.
const blockSize = 64 << 10

// Reader gives out the rendered message: what was put in front of it, then the content less what was cut. Whoever
// receives a message gets this and never the spool's file. It is for one goroutine; several may share the content.
type Reader struct {
	prepend string
	keep    []mta.Range // of the content, in order
	content io.ReaderAt
	size    int64
	at      int   // index in keep
	off     int64 // in keep[at]
	head    int   // of prepend, given out so far
}

// NewReader renders an envelope's Prepend and Cut over a content of size octets. The cuts rise and do not overlap, as
// an envelope that was read has them; what of a cut lies outside the content is passed over.
func NewReader(prepend string, cut []mta.Range, content io.ReaderAt, size int64) *Reader {
	r := &Reader{prepend: prepend, content: content, size: int64(len(prepend))}
	from := int64(0)
	for _, c := range append(cut[:len(cut):len(cut)], mta.Range{Off: size}) {
		if to := min(c.Off, size); to > from {
			r.keep = append(r.keep, mta.Range{Off: from, Len: to - from})
			r.size += to - from
		}
		from = max(from, c.Off+c.Len)
	}
	return r
}

// Size returns the octets of the whole rendered message.
func (r *Reader) Size() int64 { return r.size }

// Reset begins again at the first octet.
func (r *Reader) Reset() { r.at, r.off, r.head = 0, 0, 0 }

// Read implements io.Reader. A content shorter than its stated size is io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.head < len(r.prepend) {
		n := copy(p, r.prepend[r.head:])
		r.head += n
		return n, nil
	}
	for r.at < len(r.keep) && r.off == r.keep[r.at].Len {
		r.at, r.off = r.at+1, 0
	}
	if r.at == len(r.keep) {
		return 0, io.EOF
	}
	k := r.keep[r.at]
	p = p[:min(int64(len(p)), k.Len-r.off)]
	n, err := r.content.ReadAt(p, k.Off+r.off)
	r.off += int64(n)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo implements io.WriterTo, in large blocks.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var done int64
	buf := make([]byte, min(blockSize, max(r.size, 1)))
	for {
		n := 0
		var err error
		for n < len(buf) && err == nil {
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		if n > 0 {
			m, werr := w.Write(buf[:n])
			done += int64(m)
			if werr != nil {
				return done, werr
			}
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}
