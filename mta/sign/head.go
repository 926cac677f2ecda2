package sign

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxHead bounds the header of a message that is signed or sealed, octets; smtpd takes no larger one.
const maxHead = 4 << 20

// ErrHead says that a header is too large to be signed.
var ErrHead = errors.New("header too large to be signed")

// Head reads a message's header, as fields with their names and line ends; body is what stands behind the empty line. Its
// time grows with the header's octets alone, however they are folded.
func Head(message io.Reader) (header []string, body io.Reader, err error) {
	r := bufio.NewReaderSize(message, 64<<10)
	size := 0
	var field strings.Builder
	end := func() {
		if field.Len() > 0 {
			header = append(header, field.String())
			field.Reset()
		}
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, nil, err
		}
		if size += len(line); size > maxHead {
			return nil, nil, ErrHead
		}
		switch {
		case line == "\r\n" || line == "\n" || line == "":
			end()
			return header, r, nil
		case (line[0] == ' ' || line[0] == '\t') && field.Len() > 0:
			field.WriteString(line)
		case !strings.Contains(line, ":"): // the body, without an empty line
			end()
			return header, io.MultiReader(strings.NewReader(line), r), nil
		default:
			end()
			field.WriteString(line)
		}
	}
}

// Names are the names of fields.
func Names(header []string) []string {
	names := make([]string, len(header))
	for i, raw := range header {
		name, _, _ := strings.Cut(raw, ":")
		names[i] = strings.TrimRight(name, " \t")
	}
	return names
}
