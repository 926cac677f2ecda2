package dot

import (
	"bufio"
	"io"
)

// ChunkReader reads a content that comes by BDAT commands (RFC 3030 2): one chunk after the other, cut anywhere, even
// between CR and LF. What it gives out obeys the rules of Reader, but a dot is an octet like any other. It is for one
// goroutine.
type ChunkReader struct {
	r    Reader
	last bool
}

// NewChunkReader returns a ChunkReader that waits for its first chunk.
func NewChunkReader(o ReaderOptions) *ChunkReader {
	return &ChunkReader{r: Reader{o: o, chunked: true}}
}

// Next begins a chunk: the next size octets of br. The one before must have been read to its end.
func (c *ChunkReader) Next(br *bufio.Reader, size int64, last bool) {
	c.r.br, c.r.left, c.last = br, size, last
}

// Faults returns what was found so far; at the end of the last chunk, in the whole content.
func (c *ChunkReader) Faults() Fault { return c.r.fault }

// Read gives out what is at hand of the chunk, and io.EOF at its end; there, a CR waits for the next chunk to say what it
// is. Where the last chunk ends within a line, CR LF is added: the contents that DATA brings end so too. Errors are those
// of Reader.Read.
func (c *ChunkReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != io.EOF || !c.last || len(p) == 0 {
		return n, err
	}
	switch {
	case c.r.state == afterCR:
		return c.r.bareCR(p), nil
	case c.r.line > 0:
		n = c.r.emit(p, "\r\n")
		c.r.state, c.r.line = lineStart, 0
		return n, nil
	}
	return 0, io.EOF
}
