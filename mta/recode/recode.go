package recode

import (
	"errors"
	"io"
)

// Why a message cannot have another form.
var (
	ErrSigned  = errors.New("a signed part does not have the form that the server takes")
	ErrForm    = errors.New("a part does not have a form that can be encoded")
	ErrAddress = errors.New("an address in the header has no form without UTF-8")
)

// Need is what a server asks for.
type Need struct {
	SevenBit bool // no octets beyond ASCII anywhere
	ASCII    bool // none in the headers of the message and its parts; SevenBit includes it
	MaxLine  int  // octets of a line of a body, CR LF not counted; 0 = any number
}

// Source is a message with CR LF line ends that can be read again after a Reset.
type Source interface {
	io.Reader
	Reset()
}

// Reader is the message in its new form. It is for one goroutine, whose last call is Close.
type Reader struct {
	src  Source
	plan *plan
	size int64
	pipe *io.PipeReader
	done chan struct{}
}

// New finds out how to give the message the form. Its error is ErrSigned, ErrForm or ErrAddress, or one of reading src,
// which belongs to the Reader from now on.
func New(src Source, n Need) (*Reader, error) {
	r := &Reader{src: src, plan: &plan{need: n}}
	src.Reset()
	if err := r.plan.walk(src, io.Discard, true); err != nil {
		return nil, err
	}
	src.Reset()
	var count counter
	if err := r.plan.walk(src, &count, false); err != nil {
		return nil, err
	}
	r.size = int64(count)
	return r, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Size returns the octets of the new form.
func (r *Reader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.pipe == nil {
		r.src.Reset()
		in, out := io.Pipe()
		r.pipe, r.done = in, make(chan struct{})
		go func() {
			defer close(r.done)
			out.CloseWithError(r.plan.walk(r.src, out, false))
		}()
	}
	return r.pipe.Read(p)
}

// Reset begins again at the first octet.
func (r *Reader) Reset() { r.Close() }

// Close ends a reading that has begun.
func (r *Reader) Close() {
	if r.pipe != nil {
		_ = r.pipe.Close()
		<-r.done
		r.pipe = nil
	}
}
