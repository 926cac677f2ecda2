package clamav

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

const (
	chunkSize = 64 << 10
	maxAnswer = 4 << 10
)

type result struct {
	virus    string // "" = none
	tooLarge bool   // for clamd's own StreamMaxLength
}

// scan has clamd look through the message, by its command INSTREAM (clamd(8)): chunks, each behind its length of four octets,
// and an empty one at the end. Only a whole message and a whole answer are a result.
func (f *Filter) scan(ctx context.Context, m *filters.Message) (result, error) {
	r, err := daemon.Open(m)
	if err != nil {
		return result{}, err
	}
	defer r.Close()
	c, err := f.set.Dial(ctx)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	sent := send(c, r)
	var local *daemon.ReadError
	if errors.As(sent, &local) {
		return result{}, sent // nothing that clamd did
	}
	// Who does not want to read on may have said why before.
	text, err := answer(c)
	if err != nil {
		if sent != nil {
			return result{}, sent
		}
		return result{}, err
	}
	res, err := parse(text)
	if err == nil && sent != nil && !res.tooLarge && res.virus == "" {
		return result{}, sent // it calls clean what it has not seen
	}
	return res, err
}

func send(c net.Conn, r io.Reader) error {
	if _, err := io.WriteString(c, "zINSTREAM\x00"); err != nil {
		return err
	}
	buf := make([]byte, 4+chunkSize)
	for {
		n, err := io.ReadFull(r, buf[4:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, err := c.Write(buf[:4+n]); err != nil {
				return err
			}
		}
		if err != nil {
			_, err = c.Write([]byte{0, 0, 0, 0})
			return err
		}
	}
}

// answer reads up to the NUL that ends it: without, it may be the half of one.
func answer(r io.Reader) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(r, maxAnswer)).ReadString(0)
	switch {
	case err == nil:
		return strings.TrimSuffix(text, "\x00"), nil
	case err == io.EOF && len(text) >= maxAnswer:
		return "", fmt.Errorf("it says more than %d octets", maxAnswer)
	case err == io.EOF && text == "":
		return "", errors.New("it has closed the connection without an answer")
	case err == io.EOF:
		return "", fmt.Errorf("it has closed the connection within its answer %q", daemon.OneLine(text))
	}
	return "", err
}

// parse reads "stream: OK", "stream: NAME FOUND" and "TEXT. ERROR".
func parse(text string) (result, error) {
	if strings.HasPrefix(text, "INSTREAM size limit exceeded") {
		return result{tooLarge: true}, nil
	}
	said, ok := strings.CutPrefix(text, "stream: ")
	if ok && said == "OK" {
		return result{}, nil
	}
	if name, found := strings.CutSuffix(said, " FOUND"); ok && found && daemon.OneLine(name) != "" {
		return result{virus: daemon.OneLine(name)}, nil
	}
	return result{}, fmt.Errorf("it says %q", daemon.OneLine(text))
}
