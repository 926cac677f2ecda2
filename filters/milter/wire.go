package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Bounds, octets.
const (
	maxCommand = 65535   // what libmilter takes in one packet, unless it asks for more
	maxPacket  = 1 << 20 // of a milter's
	maxSaid    = 4 << 20 // of all of them together, but for a new body
)

// wire is a connection to a milter: packets of a length of four octets, a code and data (libmilter's mfdef.h).
type wire struct {
	c    net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	left int64 // octets that the milter may still say
	body int64 // and as a new body
}

func newWire(c net.Conn, body int64) wire {
	return wire{c: c, in: bufio.NewReader(c), out: bufio.NewWriterSize(c, 8<<10), left: maxSaid, body: body}
}

// write sends a packet, at the latest before the next one is read.
func (w *wire) write(code byte, data []byte) error {
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(data)+1))
	head[4] = code
	if _, err := w.out.Write(head[:]); err != nil {
		return err
	}
	_, err := w.out.Write(data)
	return err
}

// read gives the next packet that is not there only to gain time.
func (w *wire) read() (code byte, data []byte, err error) {
	if err := w.out.Flush(); err != nil {
		return 0, nil, err
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return 0, nil, closed(err)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > maxPacket {
			return 0, nil, fmt.Errorf("it sends a packet of %d octets: is it a milter?", n)
		}
		code = head[4]
		left := &w.left
		if code == saysBody {
			left = &w.body
		}
		if *left -= int64(n); *left < 0 {
			return 0, nil, errors.New("it says more than anybody wants to know")
		}
		data = make([]byte, n-1)
		if _, err := io.ReadFull(w.in, data); err != nil {
			return 0, nil, closed(err)
		}
		if code != saysProgress {
			return code, data, nil
		}
	}
}

func closed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it has closed the connection within the conversation")
	}
	return err
}

// appendString appends a string as C has it: up to a NUL.
func appendString(data []byte, s string) []byte {
	for i := range len(s) {
		if s[i] != 0 {
			data = append(data, s[i])
		}
	}
	return append(data, 0)
}

// stringsOf takes n strings and more from data.
func stringsOf(data []byte, n int) ([]string, error) {
	var all []string
	for len(data) > 0 {
		s, rest, ok := bytes.Cut(data, []byte{0})
		if !ok {
			return nil, errors.New("it sends a string without an end")
		}
		all, data = append(all, string(s)), rest
	}
	if len(all) < n {
		return nil, fmt.Errorf("it sends %d strings, want %d", len(all), n)
	}
	return all, nil
}
