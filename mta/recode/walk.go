package recode

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// Bounds of what is taken apart.
const (
	maxHeader = 1 << 20 // of one part
	maxParts  = 10000
	maxDepth  = 30
	maxBound  = 70 // RFC 2046 5.1.1
	chunk     = 32 << 10
)

// shape is what a body asks for.
type shape struct {
	eightBit bool
	notUTF8  bool
	long     bool
}

// plan has the shapes of all bodies, in their order: a part's header comes first, and says how its body is encoded.
type plan struct {
	need   Need
	shapes []shape
}

// walk goes through a message: the first time to learn the shapes, then to write it.
func (p *plan) walk(src io.Reader, out io.Writer, learn bool) error {
	w := &walker{plan: p, learn: learn, br: bufio.NewReaderSize(src, chunk), out: bufio.NewWriterSize(out, chunk)}
	if err := w.entity(0, false, true); err != nil {
		return err
	}
	return w.out.Flush()
}

type walker struct {
	*plan
	learn  bool
	br     *bufio.Reader
	out    *bufio.Writer
	bounds [][]byte // of the multiparts that are open, with their hyphens
	parts  int      // whose bodies were seen
}

// boundary says whether a delimiter of an open multipart comes next, of which one, and whether it is the last.
func (w *walker) boundary() (level int, last, ok bool) {
	if len(w.bounds) == 0 {
		return 0, false, false
	}
	b, _ := w.br.Peek(maxBound + 6)
	if !bytes.HasPrefix(b, []byte("--")) {
		return 0, false, false
	}
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	for i := len(w.bounds) - 1; i >= 0; i-- {
		rest, found := bytes.CutPrefix(line, w.bounds[i])
		last := bytes.HasPrefix(rest, []byte("--"))
		if last {
			rest = rest[2:]
		}
		// Blanks may stand behind it, perhaps more than were looked at.
		if found && len(bytes.Trim(rest, " \t")) == 0 && (whole || len(b) < maxBound+6 || len(rest) > 0) {
			return i, last, true
		}
	}
	return 0, false, false
}

// line returns a piece of the next line: ended says that it is its last. io.EOF when there is none.
func (w *walker) line() (b []byte, ended bool, err error) {
	b, err = w.br.ReadSlice('\n')
	switch {
	case err == nil:
		return b, true, nil
	case errors.Is(err, bufio.ErrBufferFull):
		if b[len(b)-1] == '\r' { // a line end comes in one piece
			_ = w.br.UnreadByte()
			b = b[:len(b)-1]
		}
		return b, false, nil
	case err == io.EOF && len(b) > 0:
		return b, true, nil
	}
	return nil, false, err
}

// header reads the fields of an entity with the empty line behind them, if there is one.
func (w *walker) header() ([]byte, error) {
	var h []byte
	for start := true; ; {
		if _, _, ok := w.boundary(); ok && start {
			return h, nil
		}
		b, ended, err := w.line()
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		if len(h)+len(b) > maxHeader {
			return nil, ErrForm
		}
		h = append(h, b...)
		if start && ended && string(b) == "\r\n" {
			return h, nil
		}
		start = ended
	}
}

// entity is one message or part: its header, and its body up to a delimiter of a multipart around it.
func (w *walker) entity(depth int, signed, top bool) error {
	if depth > maxDepth {
		return ErrForm
	}
	raw, err := w.header()
	if err != nil {
		return err
	}
	h, err := parse(raw, top)
	if err != nil {
		return err
	}
	if !h.multipart() && !h.embeds() {
		return w.leaf(h, signed)
	}
	if err := w.write(h, shape{}, signed); err != nil {
		return err
	}
	if h.embeds() {
		return w.entity(depth+1, signed, false)
	}
	return w.multipart(h, depth, signed || h.subtype() == "signed")
}

// write writes a header in the form that the body asks for.
func (w *walker) write(h *header, s shape, signed bool) error {
	if w.learn {
		return nil
	}
	b := h.raw
	if signed {
		if w.need.SevenBit && !isASCII(b) || w.need.ASCII && !isASCII(b) {
			return ErrSigned
		}
	} else {
		var err error
		if b, err = h.render(w.need, s); err != nil {
			return err
		}
	}
	_, err := w.out.Write(b)
	return err
}

// multipart is the parts with what stands before, between and behind them.
func (w *walker) multipart(h *header, depth int, signed bool) error {
	own := len(w.bounds)
	w.bounds = append(w.bounds, append([]byte("--"), h.params["boundary"]...))
	defer func() { w.bounds = w.bounds[:own] }()
	for {
		if err := w.verbatim(signed); err != nil { // what stands before a delimiter is read by nobody
			return err
		}
		level, last, ok := w.boundary()
		if !ok || level < own {
			return nil
		}
		if err := w.delimiter(); err != nil {
			return err
		}
		if last {
			w.bounds = w.bounds[:own]
			return w.verbatim(signed)
		}
		if err := w.entity(depth+1, signed, false); err != nil {
			return err
		}
	}
}

// delimiter copies one.
func (w *walker) delimiter() error {
	for {
		b, ended, err := w.line()
		if err != nil {
			return err
		}
		if _, err := w.out.Write(b); err != nil {
			return err
		}
		if ended {
			return nil
		}
	}
}

// verbatim copies lines up to a delimiter. Octets that may not be there become question marks.
func (w *walker) verbatim(signed bool) error {
	return w.lines(func(b []byte) error {
		if w.need.SevenBit && !isASCII(b) {
			if signed {
				return ErrSigned
			}
			b = bytes.Map(func(c rune) rune {
				if c >= utf8.RuneSelf {
					return '?'
				}
				return c
			}, b)
		}
		_, err := w.out.Write(b)
		return err
	})
}

// lines gives the pieces of the lines up to a delimiter to do.
func (w *walker) lines(do func([]byte) error) error {
	for start := true; ; {
		if start {
			if _, _, ok := w.boundary(); ok {
				return nil
			}
		}
		b, ended, err := w.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(b); err != nil {
			return err
		}
		start = ended
	}
}

// leaf is a part that has no parts.
func (w *walker) leaf(h *header, signed bool) error {
	if w.parts++; w.parts > maxParts {
		return ErrForm
	}
	if w.learn {
		s, err := w.look()
		w.shapes = append(w.shapes, s)
		if err == nil {
			err = w.judge(h, s, signed)
		}
		return err
	}
	s := w.shapes[w.parts-1]
	if err := w.write(h, s, signed); err != nil {
		return err
	}
	enc := h.encoding(w.need, s)
	if signed || enc == "" {
		return w.lines(func(b []byte) error {
			_, err := w.out.Write(b)
			return err
		})
	}
	return w.encode(enc)
}

// judge says whether a body that does not fit can be encoded.
func (w *walker) judge(h *header, s shape, signed bool) error {
	switch {
	case !w.need.SevenBit || !s.eightBit:
		return nil // long lines are encoded where that is possible, and stay where it is not
	case signed:
		return ErrSigned
	case h.encoding(w.need, s) == "":
		return ErrForm
	}
	return nil
}

// look learns what a body asks for.
func (w *walker) look() (s shape, err error) {
	var tail []byte // of a character that is cut in the middle
	n := 0
	err = w.lines(func(b []byte) error {
		if !isASCII(b) {
			s.eightBit = true
		}
		if s.eightBit && !s.notUTF8 {
			tail = append(tail, b...)
			for len(tail) > 0 {
				r, size := utf8.DecodeRune(tail)
				if r == utf8.RuneError && size == 1 {
					if !utf8.FullRune(tail) {
						break
					}
					s.notUTF8 = true
				}
				tail = tail[size:]
			}
		}
		n += len(b)
		if bytes.HasSuffix(b, []byte("\n")) {
			if w.need.MaxLine > 0 && n-2 > w.need.MaxLine {
				s.long = true
			}
			n = 0
		}
		return nil
	})
	s.notUTF8 = s.notUTF8 || len(tail) > 0
	if w.need.MaxLine > 0 && n > w.need.MaxLine {
		s.long = true
	}
	return s, err
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
