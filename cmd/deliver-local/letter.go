package main

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// inMemory is how much of a message is kept in memory. A longer one goes into a file without a name.
const inMemory = 256 << 10

// letter is the message, which can be read again.
type letter struct {
	content io.ReaderAt
	size    int64
}

func readLetter(r io.Reader) (*letter, error) {
	var b bytes.Buffer
	n, err := io.CopyN(&b, r, inMemory+1)
	if errors.Is(err, io.EOF) {
		return &letter{bytes.NewReader(b.Bytes()), n}, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "posthouse-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	size, err := io.Copy(f, io.MultiReader(&b, r))
	return &letter{f, size}, err
}

func (m *letter) reader() io.Reader { return io.NewSectionReader(m.content, 0, m.size) }
