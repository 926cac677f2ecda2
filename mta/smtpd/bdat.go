package smtpd

import (
	"bytes"
	"strconv"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// chunks is a content that comes by BDAT.
type chunks struct {
	*arrival
	from   *dot.ChunkReader
	failed bool // a chunk was refused, and those behind it will be
}

// bdat is RFC 3030 2. The octets of a chunk are read whatever the answer, so that the dialogue stays in step. The last
// chunk ends the transaction, as the end of DATA does.
func (s *session) bdat(args string) mta.Reply {
	size, last, err := smtp.ParseBDAT(args)
	if err != nil { // nobody knows how many octets follow
		s.end, s.reason = true, "bad BDAT"
		r := reply(501, "5.5.4", "Syntax: BDAT size [LAST], closing connection")
		s.o.Log.SMTPRejected(s.who(), "data", "", "", "", r)
		return r
	}
	again, failed := s.tx.chunks != nil, s.tx.chunks != nil && s.tx.chunks.failed
	r := s.beginChunk()
	c := s.tx.chunks
	if r.Code != 0 {
		c = &chunks{arrival: &arrival{dropped: true}, from: dot.NewChunkReader(dot.ReaderOptions{})}
	}
	if !again {
		s.c.enter(inContent)
	} else if err := s.c.resume(); err != nil {
		s.c.enter(inCommand)
		s.fail(err)
		return mta.Reply{}
	}
	out := s.enlarge()
	c.from.Next(s.br, size, last)
	if err = s.receive(c.arrival, c.from, out); err == nil && r.Code == 0 {
		r, err = s.endChunk(c, size, last)
	}
	if err != nil || !last || r.Code/100 != 2 {
		s.c.enter(inCommand)
	}
	if err != nil {
		s.fail(err)
		return mta.Reply{}
	}
	if last {
		s.eachTime()
		s.reset()
	}
	if failed { // an error is counted once, however many chunks were on their way
		s.write(r)
		for ; s.more > 0; s.more-- {
			s.write(r)
		}
		return mta.Reply{}
	}
	return r
}

// beginChunk says whether a chunk can become part of the message. Its refusal spoils the transaction: what follows must not
// pass for the whole.
func (s *session) beginChunk() mta.Reply {
	if c := s.tx.chunks; c != nil {
		if c.failed {
			return reply(503, "5.5.1", "A chunk was refused, send RSET")
		}
		return mta.Reply{}
	}
	r := s.mayData()
	if r.Code == 0 && !s.esmtp {
		r = reply(503, "5.5.1", "BDAT needs EHLO")
	}
	if r.Code != 0 {
		s.o.Log.SMTPRejected(s.who(), "data", "", "", "", r)
	} else if in, err := s.o.Queue.Begin(); err != nil {
		s.o.Log.SMTPFault(s.who(), "data", "", err)
		s.o.Metrics.faults.Inc()
		r = spoolReply(err)
	} else {
		s.tx.chunks = &chunks{arrival: s.arrival(in), from: dot.NewChunkReader(s.contentRules())}
	}
	if r.Code != 0 && s.tx.open {
		s.tx.chunks = &chunks{arrival: &arrival{}, failed: true}
	}
	return r
}

// endChunk answers a chunk that was read.
func (s *session) endChunk(c *chunks, size int64, last bool) (mta.Reply, error) {
	if last {
		return s.take(c.arrival)
	}
	r := s.verdict(c.arrival)
	if r.Code == 0 {
		return reply(250, "2.0.0", strconv.FormatInt(size, 10)+" octets received"), nil
	}
	s.refuse(c.arrival, r)
	c.in.Abort()
	c.failed = true
	return r, nil
}

// dropChunks gives up a message of which only a part has come.
func (s *session) dropChunks() {
	if c := s.tx.chunks; c != nil && c.in != nil {
		c.in.Abort()
	}
}

func chunksBegun() mta.Reply {
	return reply(503, "5.5.1", "BDAT has begun, send RSET or the last chunk")
}

// mayBeBDAT says whether a line that is no good command may have been meant as BDAT: then octets of a message follow, and
// must not be taken for commands.
func mayBeBDAT(line []byte) bool {
	return len(line) >= 4 && bytes.EqualFold(line[:4], []byte("BDAT"))
}
