package spamassassin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Bounds of an answer.
const (
	maxAnswer = 2 << 20 // octets: a message's header and what is added to it
	maxLines  = 32      // of the answer's own header
	maxScore  = 100_000
)

// result is what spamd says of a message.
type result struct {
	spam            bool
	score, required float64
	header          []filters.Field // of the message as SpamAssassin would have it; values are folded as it has them
}

// ask asks by spamd's protocol, version 1.5: HEADERS, or CHECK where its fields are not wanted. Only a whole message and a
// whole answer are a result.
func (f *Filter) ask(ctx context.Context, e *filters.Event) (*result, error) {
	r, err := daemon.Open(e.Message)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := f.set.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sent := f.send(c, e, r)
	var local *daemon.ReadError
	if errors.As(sent, &local) {
		return nil, sent // nothing that spamd did
	}
	// Who does not want to read on may have said why before.
	res, err := answer(io.LimitReader(c, maxAnswer), f.set.Headers)
	if err == nil && sent != nil || errors.Is(err, errSilent) && sent != nil {
		return nil, sent
	}
	return res, err
}

// send sends the question. In front of the message stands who has sent it, as SpamAssassin looks for it.
func (f *Filter) send(c net.Conn, e *filters.Event, message io.Reader) error {
	command := "CHECK"
	if f.set.Headers {
		command = "HEADERS"
	}
	sender := "Return-Path: <" + strings.NewReplacer("\r", "", "\n", "").Replace(e.Sender) + ">\r\n"
	w := bufio.NewWriterSize(c, 32<<10)
	fmt.Fprintf(w, "%s SPAMC/1.5\r\nContent-length: %d\r\n", command, int64(len(sender))+e.Message.Size())
	if f.set.User != "" {
		fmt.Fprintf(w, "User: %s\r\n", f.set.User)
	}
	fmt.Fprintf(w, "\r\n%s", sender)
	if n, err := io.Copy(w, message); err != nil {
		return err
	} else if n != e.Message.Size() {
		return &daemon.ReadError{Err: fmt.Errorf("it has %d octets, and should have %d", n, e.Message.Size())}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// errSilent is for a connection that ended without a word.
var errSilent = errors.New("it has closed the connection without an answer")

// answer reads "SPAMD/1.1 0 EX_OK", the fields Content-length and Spam, and a body of that length.
func answer(in io.Reader, wantBody bool) (*result, error) {
	r := bufio.NewReader(in)
	status, err := line(r)
	if err != nil {
		return nil, err
	}
	if err := success(status); err != nil {
		return nil, err
	}
	res, length := &result{}, -1
	judged := false
	for n := 0; ; n++ {
		text, err := line(r)
		if err != nil {
			return nil, err
		}
		if text == "" {
			break
		}
		if n == maxLines {
			return nil, fmt.Errorf("more than %d lines in the header of its answer", maxLines)
		}
		name, value, _ := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "spam":
			judged = res.judge(value)
			if !judged {
				return nil, fmt.Errorf("it says %q", daemon.OneLine(text))
			}
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > maxAnswer {
				return nil, fmt.Errorf("it says %q", daemon.OneLine(text))
			}
		}
	}
	if !judged {
		return nil, errors.New("its answer does not say whether it is spam")
	}
	if !wantBody {
		return res, nil
	}
	if length < 0 {
		return nil, errors.New("its answer does not say how long it is")
	}
	body := make([]byte, length)
	if n, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("its answer ends after %d of %d octets: %w", n, length, err)
	}
	res.header = fields(string(body))
	return res, nil
}

func success(status string) error {
	version, rest, _ := strings.Cut(status, " ")
	code, _, _ := strings.Cut(rest, " ")
	if n, err := strconv.Atoi(code); !strings.HasPrefix(version, "SPAMD/1.") || err != nil || n != 0 {
		return fmt.Errorf("it says %q", daemon.OneLine(status))
	}
	return nil
}

func line(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case err == nil:
		return strings.TrimRight(string(b), "\r\n"), nil
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errors.New("a line of its answer is too long")
	case err == io.EOF && len(b) == 0:
		return "", errSilent
	case err == io.EOF:
		return "", fmt.Errorf("it has closed the connection within its answer %q", daemon.OneLine(string(b)))
	}
	return "", err
}

// judge reads "True ; 15.2 / 5.0".
func (r *result) judge(value string) bool {
	word, scores, ok := strings.Cut(value, ";")
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "true", "yes":
		r.spam = true
	case "false", "no":
		r.spam = false
	default:
		return false
	}
	score, required, ok2 := strings.Cut(scores, "/")
	var err, err2 error
	r.score, err = strconv.ParseFloat(strings.TrimSpace(score), 64)
	r.required, err2 = strconv.ParseFloat(strings.TrimSpace(required), 64)
	return ok && ok2 && err == nil && err2 == nil && math.Abs(r.score) <= maxScore && math.Abs(r.required) <= maxScore
}

// fields are those of a header, with their values as they are folded.
func fields(header string) []filters.Field {
	var all []filters.Field
	for text := range strings.Lines(header) {
		text = strings.TrimRight(text, "\r\n")
		switch name, value, ok := strings.Cut(text, ":"); {
		case text == "":
			return all
		case (text[0] == ' ' || text[0] == '\t') && len(all) > 0:
			all[len(all)-1].Value += "\n" + text
		case ok:
			all = append(all, filters.Field{Name: strings.TrimRight(name, " \t"), Value: strings.TrimLeft(value, " \t")})
		}
	}
	return all
}
