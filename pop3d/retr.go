package pop3d

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

const copyBuffer = 16 << 10

// retr is RETR (RFC 1939 5).
func (s *session) retr(_ context.Context, arg string) error {
	i, ok, err := s.message(arg)
	if !ok {
		return err
	}
	f, err := s.drop.Open(i)
	if err != nil {
		return s.unreadable(i, err)
	}
	defer f.Close()
	if err := s.ok("%d octets", s.drop.Message(i).Size); err != nil {
		return err
	}
	if err := s.send(i, f); err != nil {
		return err
	}
	s.fetched++
	return nil
}

// top is TOP (RFC 1939 7): the header, the empty line, and some lines of the body.
func (s *session) top(_ context.Context, arg string) error {
	number, lines, _ := strings.Cut(arg, " ")
	n, valid := parseNumber(lines)
	if !valid {
		return s.err("TOP takes a message number and a number of lines")
	}
	i, ok, err := s.message(number)
	if !ok {
		return err
	}
	f, err := s.drop.Open(i)
	if err != nil {
		return s.unreadable(i, err)
	}
	defer f.Close()
	if err := s.ok("top of message follows"); err != nil {
		return err
	}
	return s.send(i, &topReader{r: f, lines: n})
}

// errCut ends a session whose message failed in the middle.
var errCut = errors.New("message file failed while it was sent")

// send writes message i as the lines of an answer. Where its file fails in the middle the session ends without the line
// of a dot: the client must not take a part for the whole.
func (s *session) send(i int, r io.Reader) error {
	w := dot.NewWriterLF(s.w)
	file := &fileReader{r: r}
	_, err := io.CopyBuffer(w, file, make([]byte, copyBuffer))
	if file.err != nil {
		s.opt.Log.POP3MessageFailed(s.id, s.identity, s.drop.Message(i).Unique, file.err)
		return errCut
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// fileReader keeps the error of a read apart from those of the connection.
type fileReader struct {
	r   io.Reader
	err error
}

func (f *fileReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// unreadable answers for a message that cannot be opened.
func (s *session) unreadable(i int, err error) error {
	s.opt.Log.POP3MessageFailed(s.id, s.identity, s.drop.Message(i).Unique, err)
	if errors.Is(err, maildir.ErrGone) {
		return s.err("[SYS/TEMP] message %d was removed by another program", i+1)
	}
	return s.err("[SYS/TEMP] message %d cannot be read now", i+1)
}
