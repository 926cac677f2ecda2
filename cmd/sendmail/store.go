package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// inMemory is how much of a message is kept in memory; the rest goes to a file that has no name any more.
const inMemory = 256 << 10

// store holds a message until all of it is there: a program that writes its output slowly would otherwise keep smtpd
// waiting for longer than that allows, and a message could not be given to an smtpd that comes back.
type store struct {
	mem   []byte
	file  *os.File // what does not fit into mem; nil: nothing
	size  int64
	limit int64
}

var errTooLarge = errors.New("message too large")

func tooLarge(limit int64) error {
	return &exitError{exitDataErr, fmt.Errorf("%w: the limit is %d octets", errTooLarge, limit)}
}

func (s *store) Write(p []byte) (int, error) {
	if s.size+int64(len(p)) > s.limit {
		return 0, tooLarge(s.limit)
	}
	n := min(len(p), inMemory-len(s.mem))
	s.mem = append(s.mem, p[:n]...)
	if n < len(p) {
		if s.file == nil {
			if err := s.open(); err != nil {
				return 0, err
			}
		}
		if _, err := s.file.Write(p[n:]); err != nil {
			return 0, stored(err)
		}
	}
	s.size += int64(len(p))
	return len(p), nil
}

// open makes the file; in memory where there may be none, as in a confined service, or with a TMPDIR of somebody else's.
func (s *store) open() error {
	f, err := os.CreateTemp("", "sendmail")
	if err == nil {
		if s.file = f; os.Remove(f.Name()) != nil {
			return failure(exitIOErr, "remove %s: it stays", f.Name())
		}
		return nil
	}
	fd, merr := unix.MemfdCreate("sendmail", unix.MFD_CLOEXEC)
	if merr != nil {
		return stored(err)
	}
	s.file = os.NewFile(uintptr(fd), "sendmail")
	return nil
}

func stored(err error) error {
	status := exitIOErr
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		status = exitTempFail
	}
	return failure(status, "keep the message: %w", err)
}

// ReadAt implements io.ReaderAt.
func (s *store) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(s.mem)) {
		n = copy(p, s.mem[off:])
	}
	if n < len(p) && s.file != nil {
		var more int
		more, err = s.file.ReadAt(p[n:], off+int64(n)-int64(len(s.mem)))
		return n + more, err
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (s *store) close() {
	if s.file != nil {
		_ = s.file.Close() // it was only for us
	}
}

// collector brings a message into the form of SMTP: lines of any ending (LF, CR LF, CR) end in CR LF, the last one too, NUL
// octets are dropped, and where the caller wants it, a line of a single dot is the end. A line of the body that smtpd would
// refuse for its length goes on in the next one: who sends the output of a program cannot send it otherwise.
type collector struct {
	s    *store
	dots bool // ... and it is not
	max  int  // octets of a line, with its end; 0: any number
	body bool // an empty line was seen
	buf  []byte
	col  int  // octets of the line so far
	dot  bool // the line is a single dot so far, and that is not in buf
	cr   bool
	over bool
}

func (c *collector) collect(in io.Reader) error {
	block := make([]byte, 32<<10)
	var read int64
	for !c.over {
		n, err := in.Read(block)
		read += int64(n)
		for i := 0; i < n && !c.over; i++ {
			c.octet(block[i])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return failure(exitIOErr, "read the message: %w", err)
		}
		if err := c.flush(); err != nil {
			return err
		}
		if !c.over && read > c.s.limit { // of octets that are dropped there may be any number, as in /dev/zero
			return tooLarge(c.s.limit)
		}
	}
	if c.col > 0 {
		c.end()
	}
	return c.flush()
}

func (c *collector) octet(b byte) {
	cr := c.cr
	c.cr = b == '\r'
	switch {
	case b == 0, b == '\n' && cr: // the end of the line was seen
	case b == '\n' || b == '\r':
		c.end()
	case c.col == 0 && b == '.' && !c.dots:
		c.dot, c.col = true, 1
	default:
		if c.dot {
			c.buf, c.dot = append(c.buf, '.'), false
		}
		if c.long(b) {
			c.buf, c.col = append(c.buf, "\r\n"...), 0
		}
		c.buf = append(c.buf, b)
		c.col++
	}
}

// long says whether an octet must begin a line; where it may, it is the first of a character.
func (c *collector) long(b byte) bool {
	const slack = 8 // the line's end, and what is left of a character
	return c.body && c.max > 2*slack && (c.col >= c.max-3 || c.col >= c.max-slack && utf8.RuneStart(b))
}

// end ends a line.
func (c *collector) end() {
	c.over = c.dot
	c.body = c.body || c.col == 0
	if !c.dot {
		c.buf = append(c.buf, "\r\n"...)
	}
	c.col, c.dot = 0, false
}

func (c *collector) flush() error {
	_, err := c.s.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}
