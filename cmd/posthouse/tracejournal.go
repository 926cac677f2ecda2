package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// journal is systemd's, or the one in a folder. It finds records by the values of fields, so that it is asked for no more
// than the story.
type journal struct{ dir string }

func (j *journal) name() string {
	if j.dir != "" {
		return "the journal in " + j.dir
	}
	return "the journal"
}

func (j *journal) known(t *tracer) int { return len(t.ids) }

// maxMatches bounds the fields of one question: the kernel bounds a command line.
const maxMatches = 4 * maxTraced

// each implements logSource.
func (j *journal) each(ctx context.Context, t *tracer, do func(*record) error) error {
	var args []string
	if !t.since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(t.since.Unix(), 10))
	}
	groups := 0
	match := func(key string, values []string) {
		if len(values) == 0 {
			return
		}
		if groups++; groups > 1 {
			args = append(args, "+")
		}
		for _, v := range values[:min(len(values), maxMatches)] {
			args = append(args, maillog.JournalName(key)+"="+v)
		}
	}
	ids := slices.Sorted(maps.Keys(t.ids))
	for _, key := range []string{"id", "parent", "child"} {
		match(key, ids)
	}
	match("session", slices.Sorted(maps.Keys(t.sessions)))
	if t.address != "" {
		for _, key := range []string{"from", "to"} {
			match(key, slices.Compact([]string{"<" + t.address + ">", "<" + t.typed + ">"}))
		}
	}
	return j.read(ctx, args, do)
}

// begins implements logSource: the first record of all.
func (j *journal) begins(ctx context.Context) (at time.Time) {
	_ = j.read(ctx, nil, func(r *record) error {
		at = r.time
		return io.EOF
	})
	return at
}

// read runs journalctl, a child without a shell and without our environment; io.EOF from do ends it early.
func (j *journal) read(ctx context.Context, matches []string, do func(*record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{"--output=json", "--all", "--no-pager", "--quiet"}
	if j.dir != "" {
		args = append(args, "--directory="+j.dir)
	}
	cmd := exec.CommandContext(ctx, "journalctl", append(args, matches...)...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stderr = &bounded{&said, 4 << 10}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the journal cannot be read: %w: name a file with --log", err)
	}
	early := false
	for d := json.NewDecoder(out); ; {
		var fields map[string]any
		if err = d.Decode(&fields); err != nil {
			break
		}
		r := journalRecord(fields)
		if r == nil {
			continue
		}
		if err = do(r); err != nil {
			early = true
			break
		}
	}
	if early {
		cancel() // the child has more to say
	}
	werr := cmd.Wait()
	switch {
	case early && errors.Is(err, io.EOF):
		return nil
	case early:
		return err
	case werr != nil:
		if text := strings.TrimSpace(said.String()); text != "" {
			err := fmt.Errorf("journalctl: %s", printable(text))
			if strings.Contains(text, "insufficient permissions") {
				return &codedError{exitNoPerm, err}
			}
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var status *exec.ExitError
		if errors.As(werr, &status) && status.ExitCode() == 1 {
			return nil // nothing was found
		}
		return fmt.Errorf("journalctl: %w", werr)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("journalctl: %w", err)
	}
	return nil
}

// bounded keeps the first octets of what it is given.
type bounded struct {
	b    *bytes.Buffer
	left int
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.b.Write(p[:n])
	return len(p), nil
}

var journalKeys = maillog.JournalKeys()

// priorities are syslog's, as levels.
var priorities = map[string]string{"3": "error", "4": "warn", "6": "info", "7": "debug"}

// journalRecord reads an entry as journalctl writes it; what is no event of ours has only its time.
func journalRecord(fields map[string]any) *record {
	us, err := strconv.ParseInt(journalText(fields["__REALTIME_TIMESTAMP"]), 10, 64)
	if err != nil {
		return nil
	}
	r := &record{time: time.UnixMicro(us), level: priorities[journalText(fields["PRIORITY"])], fields: map[string]string{}}
	for name, v := range fields {
		if key, ok := journalKeys[name]; ok {
			r.set(key, journalText(v))
		}
	}
	r.time = time.UnixMicro(us)
	return r
}

// journalText is a value: a string, the octets of one that is not printable, or the first of several.
func journalText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b []byte
		for _, x := range v {
			n, ok := x.(float64)
			if !ok {
				return journalText(x)
			}
			b = append(b, byte(n))
		}
		return string(b)
	}
	return ""
}
