package acme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// hookTime is how long the program may take for a record to be at all name servers.
const hookTime = 5 * time.Minute

// maxSaid is how much of what the program says an error repeats.
const maxSaid = 300

// hook puts records into DNS by the operator's program: `PROGRAM add|remove NAME VALUE`. It ends once the record is at all name
// servers of the zone, with 0.
type hook struct{ program string }

// Present is acmez.Solver's.
func (h hook) Present(ctx context.Context, c rfc8555.Challenge) error { return h.run(ctx, "add", c) }

// CleanUp is acmez.Solver's. Records go away also where all else was broken off.
func (h hook) CleanUp(ctx context.Context, c rfc8555.Challenge) error {
	return h.run(context.WithoutCancel(ctx), "remove", c)
}

func (h hook) run(ctx context.Context, verb string, c rfc8555.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.program, verb, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	cmd.WaitDelay = 5 * time.Second
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %s", hookTime)
	}
	if err != nil {
		return fmt.Errorf("acme.dns_hook %s %s %s: %w: %s", h.program, verb, c.DNS01TXTRecordName(), err, said.String())
	}
	return nil
}

// tail keeps the last that was written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - maxSaid; n > 0 {
		t.b = bytes.Clone(t.b[n:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	if s := strings.Join(strings.Fields(strings.ToValidUTF8(string(t.b), "?")), " "); s != "" {
		return s
	}
	return "it said nothing"
}
