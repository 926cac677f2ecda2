package recode

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
)

// The encodings (RFC 2045 6).
const (
	quoted = "quoted-printable"
	base   = "base64"
)

// encode writes a body encoded. The line end before a delimiter is the delimiter's (RFC 2046 5.1.1), so it stays out.
func (w *walker) encode(enc string) error {
	var e io.WriteCloser
	if enc == base {
		e = base64.NewEncoder(base64.StdEncoding, &lineBreaker{w: w.out})
	} else {
		e = quotedprintable.NewWriter(w.out)
	}
	inside := len(w.bounds) > 0
	held := false
	err := w.lines(func(b []byte) error {
		if held {
			held = false
			if _, err := e.Write([]byte("\r\n")); err != nil {
				return err
			}
		}
		if inside && len(b) >= 2 && string(b[len(b)-2:]) == "\r\n" {
			held, b = true, b[:len(b)-2]
		}
		_, err := e.Write(b)
		return err
	})
	if err == nil {
		err = e.Close()
	}
	if err == nil && (held || enc == base && !inside) {
		_, err = w.out.WriteString("\r\n")
	}
	return err
}

// lineBreaker breaks base64 into lines of 76 characters.
type lineBreaker struct {
	w io.Writer
	n int
}

func (l *lineBreaker) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		if l.n == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return done, err
			}
			l.n = 0
		}
		n := min(len(p), 76-l.n)
		m, err := l.w.Write(p[:n])
		done, l.n = done+m, l.n+m
		if err != nil {
			return done, err
		}
		p = p[n:]
	}
	return done, nil
}
