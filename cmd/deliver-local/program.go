package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/shellsafe"
)

const (
	// forwardTime is how long a program of ~/.forward may take. as-user's own bound on a delivery is above it.
	forwardTime = 5 * time.Minute
	// outputTime is how long its output may stay open behind its end, by processes that it has left.
	outputTime = time.Second
	// maxOutput is how much of its output is kept, for the log.
	maxOutput = 500
)

// runProgram gives the message to a program and makes an Outcome of how it ends (sysexits.h).
func runProgram(ctx context.Context, argv, env []string, dir string, limit time.Duration, message io.Reader) mta.Outcome {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := &head{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, env, message, said, said, outputTime
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	err := cmd.Run()
	if cmd.Process != nil {
		_ = kill() // what it has left in its group
	}
	late := ctx.Err() != nil
	var exit *exec.ExitError
	switch {
	case cmd.ProcessState == nil:
		return deferred("4.3.0", "the program cannot be started at the moment", fmt.Errorf("%s: %w", argv[0], err))
	case late:
		err = fmt.Errorf("killed after %v", limit)
	case errors.As(err, &exit):
		err = fmt.Errorf("%s", cmd.ProcessState)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return deferred("4.3.0", "the program cannot be given the message at the moment", fmt.Errorf("%s: %w", argv[0], err))
	default:
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w%s", argv[0], err, said)
	}
	if late {
		return deferred("4.3.0", "the program takes too long", err)
	}
	return outcomeOf(cmd.ProcessState.ExitCode(), err)
}

// outcomeOf follows sysexits.h: what says that another try would end the same way fails, all else is tried again, what is
// unknown too.
func outcomeOf(status int, cause error) mta.Outcome {
	failed := func(enhanced, text string) mta.Outcome {
		return mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: enhanced, Text: text, Cause: cause}
	}
	switch status {
	case 0:
		return mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "delivered to a program"}
	case 64, 70, 76: // EX_USAGE, EX_SOFTWARE, EX_PROTOCOL
		return failed("5.3.0", "the recipient's program cannot take the message")
	case 65: // EX_DATAERR
		return failed("5.6.0", "the recipient's program does not take such a message")
	case 67: // EX_NOUSER
		return failed("5.1.1", "no such user, says the recipient's program")
	case 68: // EX_NOHOST
		return failed("5.1.2", "no such host, says the recipient's program")
	case 69: // EX_UNAVAILABLE
		return failed("5.3.0", "the recipient's program refuses the message")
	case 77, 100: // EX_NOPERM; qmail's permanent failure
		return failed("5.7.0", "the recipient's program refuses the message")
	}
	return deferred("4.3.0", "the recipient's program does not take the message at the moment", cause)
}

func deferred(enhanced, text string, cause error) mta.Outcome {
	return mta.Outcome{Code: 451, Enhanced: enhanced, Text: text, Cause: cause}
}

// environment is what a program learns of the delivery, beside what every program has.
func environment(d asuser.Delivery) []string {
	var env []string
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return append(env, "SENDER="+shellsafe.Word(d.Sender.String(), "/"), "RECIPIENT="+shellsafe.Word(d.Recipient.String(), ""), "LOCAL="+shellsafe.Word(d.Recipient.Local, ""),
		"DOMAIN="+shellsafe.Word(d.Recipient.Domain, ""), "EXTENSION="+shellsafe.Word(d.Extension, ""), "QUEUE_ID="+string(d.ID))
}

// head keeps the beginning of what is written to it, and takes all of it.
type head struct {
	b    bytes.Buffer
	more int64
}

func (h *head) Write(p []byte) (int, error) {
	keep := min(len(p), maxOutput-h.b.Len())
	h.b.Write(p[:keep])
	h.more += int64(len(p) - keep)
	return len(p), nil
}

// String is what was kept, for the end of an error.
func (h *head) String() string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(h.b.String(), "?")), " ")
	if s == "" {
		return ""
	}
	if h.more > 0 {
		s += fmt.Sprintf(" ... and %d octets more", h.more)
	}
	return "; it says: " + s
}
