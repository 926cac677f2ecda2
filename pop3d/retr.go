package pop3d

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// retr is RETR (RFC 1939 5).
func (s *session) retr(_ context.Context, arg string) error {
	i, f, err := s.openMessage(arg)
	if f == nil {
		return err
	}
	defer f.Close()
	if err := s.okSize(s.drop.Size(i)); err != nil {
		return err
	}
	if err := s.send(i, f, f, nil); err != nil {
		return err
	}
	s.drop.Retrieved(i)
	s.fetched++
	s.opt.Metrics.retrieved.Inc()
	return nil
}

// top is TOP (RFC 1939 7): the header, the empty line, and some lines of the body.
func (s *session) top(_ context.Context, arg string) error {
	number, lines, _ := strings.Cut(arg, " ")
	n, valid := parseNumber(lines)
	if !valid {
		return s.err("TOP takes a message number and a number of lines")
	}
	i, f, err := s.openMessage(number)
	if f == nil {
		return err
	}
	defer f.Close()
	if err := s.ok("top of message follows"); err != nil {
		return err
	}
	return s.send(i, f, f, &topCut{lines: n})
}

// openMessage opens the message of a number, for an answer. Where it cannot be had f is nil, and the client told.
func (s *session) openMessage(number string) (i int, f *maildir.File, err error) {
	i, ok, err := s.message(number)
	if !ok {
		return 0, nil, err
	}
	if f, err = s.drop.Open(i); err != nil {
		return 0, nil, s.unreadable(i, err)
	}
	if !s.opt.RefuseUTF8 || s.utf8 {
		return i, f, nil
	}
	ascii, err := asciiHeader(f)
	switch {
	case err != nil:
		err = s.unreadable(i, err)
	case !ascii:
		err = s.err("[UTF8] message %d has a header in UTF-8: it takes the command UTF8", i+1)
	default:
		return i, f, nil
	}
	_ = f.Close()
	return 0, nil, err
}

// errCut ends a session whose message failed in the middle.
var errCut = errors.New("message file failed while it was sent")

// sized is a reader that knows how much there is still to be read.
type sized interface{ Len() int64 }

// send writes message i as the lines of an answer, block by block, up to where cut ends it. Where its file fails in the
// middle the session ends without the line of a dot: the client must not take a part for the whole.
func (s *session) send(i int, r io.Reader, left sized, cut *topCut) error {
	lent := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(lent)
	var stuffer dot.Stuffer
	for end := left.Len() == 0; !end; end = end || left.Len() == 0 {
		n, err := r.Read(lent[:])
		if err != nil {
			s.opt.Metrics.unreadable.Inc()
			s.opt.Log.POP3MessageFailed(s.id, s.identity, string(s.drop.Unique(i)), err)
			return errCut
		}
		block := lent[:n]
		if cut != nil {
			block, end = cut.take(block)
		}
		out, err := s.room(dot.MaxGrowth*len(block) + 1)
		if err != nil {
			return err
		}
		s.out = stuffer.Append(out, block)
	}
	out, err := s.room(lineRoom)
	if err != nil {
		return err
	}
	s.out = stuffer.End(out)
	return nil
}

// unreadable answers for a message that cannot be opened.
func (s *session) unreadable(i int, err error) error {
	s.opt.Metrics.unreadable.Inc()
	s.opt.Log.POP3MessageFailed(s.id, s.identity, string(s.drop.Unique(i)), err)
	if errors.Is(err, maildir.ErrGone) {
		return s.err("[SYS/TEMP] message %d was removed by another program", i+1)
	}
	return s.err("[SYS/TEMP] message %d cannot be read now", i+1)
}
