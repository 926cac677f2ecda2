package pop3d

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
)

const (
	// maxLine bounds a command with its CR LF (RFC 2449 4).
	maxLine = 255
	// lineBuffer holds a usual pipeline whole.
	lineBuffer = 2048
	// maxSkip is how much of one line that is too long is read to find its end.
	maxSkip = 16 << 10
)

// Errors of a command line, after which the next one can be read.
var (
	errLineLong = errors.New("line too long, at most 255 octets")
	errLineEnd  = errors.New("lines end in CR LF")
	errControl  = errors.New("control character in a command")
	errEmpty    = errors.New("empty command")
)

// errFlood says that a line had no end within reason; the connection is of no more use.
var errFlood = errors.New("endless line")

// command is one line: a keyword in capitals, and what is behind the first blank.
type command struct{ verb, arg string }

// readCommand reads one line. A fault of the line is one of the errors above; all others are the connection's.
func readCommand(r *bufio.Reader) (command, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return command{}, skipLine(r)
	}
	if err != nil {
		return command{}, err
	}
	if len(line) > maxLine {
		return command{}, errLineLong
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return command{}, errLineEnd
	}
	return parseCommand(string(line))
}

// skipLine reads to the end of a line that the buffer did not hold.
func skipLine(r *bufio.Reader) error {
	for skipped := r.Size(); skipped < maxSkip; {
		part, err := r.ReadSlice('\n')
		if err == nil {
			return errLineLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		skipped += len(part)
	}
	return errFlood
}

// parseCommand takes a line without its end apart. Only the first blank divides: a password may have others.
func parseCommand(line string) (command, error) {
	for i := 0; i < len(line); i++ {
		if line[i] < ' ' || line[i] == 0x7f {
			return command{}, errControl
		}
	}
	verb, arg, _ := strings.Cut(line, " ")
	if verb == "" {
		return command{}, errEmpty
	}
	return command{upper(verb), arg}, nil
}

// upper capitalizes ASCII letters and leaves all other octets alone, whatever they may mean.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// maxDigits bounds a number in a command, so that it fits an int64.
const maxDigits = 18

// parseNumber reads an unsigned decimal number.
func parseNumber(s string) (int64, bool) {
	if s == "" || len(s) > maxDigits {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
