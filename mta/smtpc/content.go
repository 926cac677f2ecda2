package smtpc

import (
	"fmt"
	"io"
	"time"
)

// blockWriter gives each block its own deadline.
type blockWriter struct{ c *Client }

func (w *blockWriter) Write(b []byte) (int, error) {
	if err := w.c.conn.SetWriteDeadline(time.Now().Add(w.c.to.Block)); err != nil {
		return 0, w.c.cause(err)
	}
	n, err := w.c.conn.Write(b)
	return n, w.c.cause(err)
}

// contentReader tells an error of the content from one of the connection.
type contentReader struct{ r io.Reader }

func (c *contentReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrContent, err)
	}
	return n, err
}
