package smtpc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// lines answers each line that comes with the next of the replies, and then falls silent.
func lines(conn net.Conn, greeting string, replies ...string) *bufio.Reader {
	br := bufio.NewReader(conn)
	fmt.Fprint(conn, greeting+"\r\n")
	for _, r := range replies {
		if _, err := br.ReadString('\n'); err != nil {
			return br
		}
		fmt.Fprint(conn, r+"\r\n")
	}
	return br
}

func TestSlowServersCostNoMoreThanTheirDeadline(t *testing.T) {
	drip := func(conn net.Conn) {
		for _, c := range "220-" + strings.Repeat("x", 100000) {
			if _, err := conn.Write([]byte(string(c))); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for _, c := range []struct {
		what   string
		server func(net.Conn)
		want   time.Duration
	}{
		{"silent from the first", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, 5 * time.Minute},
		{"an octet a second", drip, 5 * time.Minute},
		{"an endless greeting", func(conn net.Conn) {
			for {
				if _, err := conn.Write([]byte("220-x\r\n")); err != nil {
					return
				}
			}
		}, 0},
		{"a line a minute", func(conn net.Conn) {
			for {
				if _, err := conn.Write([]byte("220-x\r\n")); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}, 5 * time.Minute},
		{"silent after EHLO", func(conn net.Conn) { _, _ = io.Copy(io.Discard, lines(conn, "220 hi")) }, 5 * time.Minute},
		{"silent after MAIL", func(conn net.Conn) { _, _ = io.Copy(io.Discard, lines(conn, "220 hi", "250 hi")) }, 5 * time.Minute},
		{"silent after DATA", func(conn net.Conn) {
			_, _ = io.Copy(io.Discard, lines(conn, "220 hi", "250 hi", "250 ok", "250 ok"))
		}, 2 * time.Minute},
		{"reads no content", func(conn net.Conn) {
			lines(conn, "220 hi", "250 hi", "250 ok", "250 ok", "354 go")
		}, 3 * time.Minute},
		{"silent after the content", func(conn net.Conn) {
			_, _ = io.Copy(io.Discard, lines(conn, "220 hi", "250 hi", "250 ok", "250 ok", "354 go"))
		}, 10 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() { defer close(done); c.server(theirs) }()
			start := time.Now()
			cl := smtpc.New(t.Context(), ours, "client.test", smtpc.Timeouts{})
			err := cl.Hello()
			if err == nil {
				results, _, _ := cl.Send(message(strings.Repeat("line\r\n", 10000), "b@far.test"))
				err = results[0].Err
			}
			took := time.Since(start)
			// a reader of no content is given another moment for a last word
			if err == nil || took < c.want || took > c.want+5*time.Second {
				t.Errorf("%s: gave up after %v with %v, want %v", c.what, took, err, c.want)
			}
			if c.want > 0 && !isTimeout(err) {
				t.Errorf("%s: got %v, want a timeout", c.what, err)
			}
			cl.Close()
			_ = theirs.Close()
			<-done
		})
	}
}

func isTimeout(err error) bool {
	return err != nil && strings.Contains(err.Error(), os.ErrDeadlineExceeded.Error())
}

func TestQuitDoesNotWaitForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		start := time.Now()
		smtpc.New(t.Context(), ours, "client.test", smtpc.Timeouts{}).Quit()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v, want 5s", took)
		}
		_ = theirs.Close()
	})
}

// FuzzServer lets a server say anything: the client must end, give each recipient one result, and never believe that a
// message was taken that has not been sent to its end.
func FuzzServer(f *testing.F) {
	f.Add([]byte("220 hi\r\n250-hi\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n"))
	f.Add([]byte("220 hi\r\n502 no\r\n250 hi\r\n250 ok\r\n550 no\r\n550 no\r\n250 ok\r\n"))
	f.Add([]byte("220-\r\n220 \r\n250 \r\n421 \r\n"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			sent := make(chan string, 1)
			go func() {
				b, _ := io.ReadAll(theirs)
				sent <- string(b)
			}()
			go func() { _, _ = theirs.Write(script) }()
			c := smtpc.New(t.Context(), ours, "client.test", smtpc.Timeouts{})
			taken := 0
			if c.Hello() == nil {
				results, _, err := c.Send(message(text, "b@far.test", "c@far.test"))
				if err == nil && len(results) != 2 {
					t.Errorf("%d results, want 2", len(results))
				}
				for _, r := range results {
					if r.Err == nil {
						taken++
					}
				}
			}
			c.Close()
			_ = theirs.Close()
			if all := <-sent; taken > 0 && !strings.Contains(all, "..dot\r\nline\r\n.\r\n") {
				t.Errorf("taken without the whole content: %q", all)
			}
		})
	})
}
