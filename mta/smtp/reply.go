package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrBadReply says that the peer's words are no SMTP reply; the connection is of no more use.
var ErrBadReply = errors.New("not an SMTP reply")

// maxPiece is where AppendReply breaks a long line: MaxText less code, enhanced code and CR LF.
const maxPiece = MaxText - len("550-5.999.999 \r\n")

// AppendReply appends r as it goes over the wire: the enhanced code on each line (RFC 2034 4), lines broken at
// MaxText, everything that is no printable character replaced by "?". UTF-8 passes where utf8OK, which is after a MAIL
// with SMTPUTF8 (RFC 6531 3.7.4).
func AppendReply(dst []byte, r mta.Reply, utf8OK bool) []byte {
	for text := r.Text; ; {
		line, rest, more := strings.Cut(text, "\n")
		line = Printable(line, utf8OK)
		for len(line) > maxPiece {
			n := maxPiece
			for n > maxPiece-utf8.UTFMax && !utf8.RuneStart(line[n]) {
				n--
			}
			dst = appendLine(dst, r, line[:n], true)
			line = line[n:]
		}
		dst = appendLine(dst, r, line, more)
		if !more {
			return dst
		}
		text = rest
	}
}

func appendLine(dst []byte, r mta.Reply, line string, more bool) []byte {
	dst = strconv.AppendInt(dst, int64(r.Code), 10)
	if more {
		dst = append(dst, '-')
	} else {
		dst = append(dst, ' ')
	}
	if r.Enhanced != "" {
		dst = append(append(dst, r.Enhanced...), ' ')
	}
	return append(append(dst, line...), '\r', '\n')
}

// Printable replaces all that is not printable by "?", and all beyond ASCII too unless utf8OK.
func Printable(s string, utf8OK bool) string {
	return strings.Map(func(r rune) rune {
		if r >= ' ' && r <= '~' || utf8OK && r > unicode.MaxASCII && r != utf8.RuneError && unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, s)
}

// ReadReply reads one reply, of at most max octets in all its lines. The text is made printable; the enhanced code is
// taken off the lines where the first has one that suits the reply code. LF alone ends a line as well. A line longer than
// br's buffer, codes that differ between the lines, and anything else that is no reply are ErrBadReply; other errors
// are the connection's, io.EOF in the middle of a reply being io.ErrUnexpectedEOF.
func ReadReply(br *bufio.Reader, max int) (mta.Reply, error) {
	var r mta.Reply
	var text strings.Builder
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		max -= len(line)
		switch {
		case err == bufio.ErrBufferFull || max < 0 && err == nil:
			return mta.Reply{}, fmt.Errorf("%w: too long", ErrBadReply)
		case err == io.EOF && (!first || len(line) > 0):
			return mta.Reply{}, io.ErrUnexpectedEOF
		case err != nil:
			return mta.Reply{}, err
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		code, more, rest, ok := splitReply(line)
		if !ok {
			return mta.Reply{}, fmt.Errorf("%w: %q", ErrBadReply, clip(line))
		}
		if first {
			r.Code = code
			r.Enhanced, _ = cutEnhanced(rest, code)
		} else if code != r.Code {
			return mta.Reply{}, fmt.Errorf("%w: code %d after %d", ErrBadReply, code, r.Code)
		} else {
			text.WriteByte('\n')
		}
		if r.Enhanced != "" {
			if e, after := cutEnhanced(rest, code); e != "" {
				rest = after
			}
		}
		text.WriteString(Printable(rest, true))
		if !more {
			r.Text = text.String()
			return r, nil
		}
	}
}

// splitReply reads a code from 200 to 599 and what follows it.
func splitReply(line []byte) (code int, more bool, rest string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, "", false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', string(line[4:]), true
}

// cutEnhanced takes an enhanced status code (RFC 3463 2) of the same class as code off the front of s.
func cutEnhanced(s string, code int) (enhanced, rest string) {
	word, rest, _ := strings.Cut(s, " ")
	if len(word) < 5 || len(word) > 9 || int(word[0]-'0') != code/100 || word[0] == '3' || word[1] != '.' {
		return "", s
	}
	subject, detail, ok := strings.Cut(word[2:], ".")
	if !ok || !isNumber(subject) || !isNumber(detail) {
		return "", s
	}
	return word, rest
}

func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// clip bounds what an error shows of a peer's line.
func clip(line []byte) []byte { return line[:min(len(line), 80)] }
