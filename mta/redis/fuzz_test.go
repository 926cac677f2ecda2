package redis

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gomodule/redigo/redis"
)

// script is a connection on which everything that comes is known.
type script struct {
	net.Conn
	in io.Reader
}

func (s script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s script) Write(p []byte) (int, error) { return len(p), nil }
func (s script) Close() error                { return nil }

func (s script) SetReadDeadline(time.Time) error { return nil }

// What the library makes room for is bounded, however the answer comes in pieces.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$-1\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n*1\r\n$0\r\n\r\n", "$9223372036854775807\r\n", "*99999\r\n",
		"*2\r\n*4096\r\n", "$" + strings.Repeat("0", 20) + "9\r\n", "$1\r\n*\r\n", "$1\r\n\n*9999999999\r\n", "*1\n", "\r\n", "$+7\r\n", "$5_0\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var said [2]string
		for i, in := range []io.Reader{bytes.NewReader(answer), iotest.OneByteReader(bytes.NewReader(answer))} {
			c := &boundConn{Conn: script{in: in}}
			if _, err := c.Write(nil); err != nil {
				t.Fatal(err)
			}
			got, err := redis.NewConn(c, 0, 0).Receive()
			if room, elements := size(got); room > len(answer) || elements > maxElements {
				t.Errorf("got %d octets and %d elements from %d octets", room, elements, len(answer))
			}
			if err == nil {
				said[i] = "an answer"
			}
		}
		if said[0] != said[1] && said[1] == "" { // in one piece, what stands behind the answer may be refused with it
			t.Errorf("%q: %q in one piece, %q in many", answer, said[0], said[1])
		}
	})
}

func size(answer any) (octets, elements int) {
	switch a := answer.(type) {
	case []byte:
		return len(a), 0
	case string:
		return 0, 0 // OK and PONG are the library's
	case []any:
		elements = len(a)
		for _, e := range a {
			o, n := size(e)
			octets, elements = octets+o, elements+n
		}
	}
	return octets, elements
}
