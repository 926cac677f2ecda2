package pop3d

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"io"
	"strconv"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// uidl is UIDL (RFC 1939 7).
func (s *session) uidl(_ context.Context, arg string) error {
	if err := s.takeOverUIDLs(); err != nil {
		s.opt.Log.POP3MessageFailed(s.id, s.identity, maildir.UIDLFile, err)
		return s.err("[SYS/PERM] the list of unique names cannot be read")
	}
	return s.listing(arg, "unique names follow", s.putUIDL)
}

// takeOverUIDLs reads, once in a session, what a former server showed.
func (s *session) takeOverUIDLs() (err error) {
	if s.opt.UIDL != "" && s.former == nil {
		s.former, err = s.drop.UIDLs(s.opt.UIDL)
	}
	return err
}

// putUIDL appends a message's UIDL: what a former server showed, or else the unique part of its file name. Another
// program's name that does not fit, or that another message has too, is replaced by a hash; in the latter case that of the
// message, which stays the same when the Maildir is copied.
func (s *session) putUIDL(b []byte, i int) []byte {
	unique := s.drop.Unique(i)
	if s.drop.Twin(i) {
		return s.putTwin(b, i)
	}
	if known, ok := s.former[string(unique)]; ok {
		return append(b, known...)
	}
	if maildir.FitsUIDL(unique) {
		return append(b, unique...)
	}
	h := sha256.New()
	h.Write(unique)
	return putHash(b, h)
}

func putHash(b []byte, h hash.Hash) []byte { return base64.RawURLEncoding.AppendEncode(b, h.Sum(nil)) }

// putTwin is putUIDL for one of several messages with the same unique part. Two that are alike in all are told apart by
// their order.
func (s *session) putTwin(b []byte, i int) []byte {
	if s.twins == nil {
		s.twins = map[int]string{}
		given := map[string]int{}
		for j := range s.drop.Len() {
			if s.drop.Twin(j) {
				id := s.hashTwin(j)
				if given[id]++; given[id] > 1 {
					id += "." + strconv.Itoa(given[id])
				}
				s.twins[j] = id
			}
		}
	}
	return append(b, s.twins[i]...)
}

func (s *session) hashTwin(i int) string {
	h := sha256.New()
	h.Write(s.drop.Unique(i))
	h.Write([]byte{0})
	if f, err := s.drop.Open(i); err == nil {
		_, _ = io.Copy(h, f) // what cannot be read has to have some name too
		_ = f.Close()
	}
	return string(putHash(nil, h))
}
