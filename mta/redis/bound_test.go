package redis_test

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/redis"
)

// answering is a server that says OK to the name that each connection gives itself, and then always the same. It reads a command
// to its last line, PING or the end of GET's key.
func answering(t *testing.T, answer string) *redis.Pool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			say := "+OK\r\n"
			for lines := bufio.NewScanner(c); lines.Scan(); {
				if w := lines.Text(); w != "posthouse" && w != "k" {
					continue
				}
				if _, err := c.Write([]byte(say)); err != nil {
					break
				}
				say = answer
			}
			_ = c.Close()
		}
	}()
	p, err := redis.Open("unix://"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.Close(), l.Close(); <-done })
	return p
}

func TestAServerThatLiesAboutLengthsIsNotBelieved(t *testing.T) {
	zeros := strings.Repeat("0", 40)
	for name, answer := range map[string]string{
		"a string that no memory holds":         "$9223372036854775807\r\n",
		"a string of 10 GB":                     "$9999999999\r\n",
		"a length that comes round to a small":  "$18446744073709551620\r\nabcd\r\n",
		"a string a little too long":            "$65537\r\n",
		"a length behind zeros":                 "$" + zeros + "9223372036854775807\r\n",
		"an array that no memory holds":         "*9223372036854775807\r\n",
		"an array behind zeros":                 "*" + zeros + "9223372036854775807\r\n",
		"an array a little too long":            "*4097\r\n",
		"arrays in arrays":                      strings.Repeat("*1\r\n", 5000),
		"many arrays in one":                    "*4000\r\n" + strings.Repeat("*100\r\n", 4000),
		"an array in an array":                  "*2\r\n$1\r\n*\r\n*9223372036854775807\r\n",
		"a text without end":                    "+" + strings.Repeat("x", 70_000),
		"an error without end":                  "-ERR " + strings.Repeat("x", 70_000),
		"an array behind the text of an array":  "*2\r\n$12\r\n*3\r\n$5\r\n*1\r\n\r\n*4096\r\n",
		"strings, together longer than allowed": "*3\r\n" + strings.Repeat("$30000\r\n"+strings.Repeat("x", 30000)+"\r\n", 3),
	} {
		if got, err := answering(t, answer).Do(t.Context(), "GET", "k"); err == nil || !strings.Contains(err.Error(), "answers more than") {
			t.Errorf("%s: got %.40v, %v, want what says that it is more than was asked for", name, got, err)
		}
	}
}

func TestAnswersThatAreNoneAreRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"no type": "hello\r\n", "nothing": "\r\n", "LF alone": "$1\nx\n", "a length below zero": "$-5\r\n", "a length that is none": "$x\r\n", "no length": "*\r\n",
		"no line end behind a string": "$1\r\nxyz\r\n",
	} {
		if got, err := answering(t, answer).Do(t.Context(), "GET", "k"); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func TestGoodAnswersPass(t *testing.T) {
	long := strings.Repeat("x", 65000)
	p := answering(t, "*5\r\n$65000\r\n"+long+"\r\n$-1\r\n*2\r\n:1\r\n:-2\r\n$12\r\n$999999999\r\n\r\n*-1\r\n")
	for range 3 { // each question has a bound of its own
		got, err := p.Do(t.Context(), "GET", "k")
		list, _ := got.([]any)
		if err != nil || len(list) != 5 || string(list[0].([]byte)) != long || list[1] != nil || list[2].([]any)[1] != int64(-2) || string(list[3].([]byte)) != "$999999999\r\n" {
			t.Fatalf("got %.80v, %v", got, err)
		}
	}
}
