package pop3d

import (
	"context"
	"fmt"
	"strconv"
)

// begin makes count and octets those of a mailbox in which nothing is marked.
func (s *session) begin() {
	s.deleted = make([]bool, s.drop.Len())
	s.count, s.octets = len(s.deleted), 0
	for i := range s.deleted {
		s.octets += s.drop.Size(i)
	}
	s.all = s.octets
}

// message reads a message number and returns its index; ok is false, and the client told, where there is none.
func (s *session) message(arg string) (i int, ok bool, err error) {
	n, valid := parseNumber(arg)
	if !valid {
		return 0, false, s.err("message number expected")
	}
	if n < 1 || n > int64(len(s.deleted)) {
		return 0, false, s.err("no such message, there are %d", len(s.deleted))
	}
	if s.deleted[n-1] {
		return 0, false, s.err("message %d is deleted", n)
	}
	return int(n - 1), true, nil
}

// stat is STAT (RFC 1939 5).
func (s *session) stat(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("STAT takes no argument")
	}
	return s.ok("%d %d", s.count, s.octets)
}

// list is LIST (RFC 1939 5).
func (s *session) list(_ context.Context, arg string) error {
	return s.listing(arg, fmt.Sprintf("%d messages (%d octets)", s.count, s.octets), func(b []byte, i int) []byte {
		return strconv.AppendInt(b, s.drop.Size(i), 10)
	})
}

// listing answers with what is to say of one message, or of all.
func (s *session) listing(arg, heading string, put func(b []byte, i int) []byte) error {
	if arg != "" {
		i, ok, err := s.message(arg)
		if !ok {
			return err
		}
		return s.ok("%d %s", i+1, put(nil, i))
	}
	if err := s.ok("%s", heading); err != nil {
		return err
	}
	for i, gone := range s.deleted {
		if gone {
			continue
		}
		out, err := s.room(lineRoom)
		if err != nil {
			return err
		}
		out = append(strconv.AppendInt(out, int64(i+1), 10), ' ')
		s.out = append(put(out, i), '\r', '\n')
	}
	return s.endList()
}
