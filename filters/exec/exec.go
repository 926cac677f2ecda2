// Package exec is the filter exec: any command, which gets the message on its standard input and answers by its exit status and
// by what it prints. cmd/filter starts it; posthouse-filters(7) describes its settings, and what a command may answer.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/shellsafe"
)

// Bounds of what a command can make us do.
const (
	maxOutput  = 64 << 10
	maxErrors  = 4 << 10 // of its standard error, which goes to the log
	graceTime  = 2 * time.Second
	maxCommand = 64 // at the same time
)

// Filter is the filter.
type Filter struct {
	Version string

	set   settings
	dir   string
	turns chan struct{}
}

type settings struct {
	Command []string          `toml:"command"`
	Status  map[string]string `toml:"status"` // action by exit status
	Timeout string            `toml:"timeout"`
	AtOnce  int               `toml:"at_once"`

	status  map[int]filters.Action
	timeout time.Duration
}

var actions = map[string]filters.Action{
	"continue": filters.Continue, "accept": filters.Accept, "reject": filters.Reject, "tempfail": filters.TempFail, "discard": filters.Discard, "quarantine": filters.Quarantine,
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "exec", Version: f.Version, Summary: "asks a command about each message", Edits: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	set := settings{Timeout: "20s", AtOnce: 4}
	if err := s.Decode(&set); err != nil {
		return err
	}
	if set.Status == nil { // what the settings say stands in place of these, and not beside them
		set.Status = map[string]string{"0": "continue", "1": "reject", "2": "quarantine", "3": "discard", "75": "tempfail"}
	}
	var err error
	if set.timeout, err = time.ParseDuration(set.Timeout); err != nil || set.timeout < 100*time.Millisecond || set.timeout > 10*time.Minute {
		return s.Fault("timeout", fmt.Sprintf("timeout = %q; allowed: \"100ms\" to \"10m\"", set.Timeout))
	}
	if set.AtOnce < 1 || set.AtOnce > maxCommand {
		return s.Fault("at_once", fmt.Sprintf("at_once = %d; allowed: 1 to %d", set.AtOnce, maxCommand))
	}
	set.status = map[int]filters.Action{}
	for code, word := range set.Status {
		n, err := strconv.Atoi(code)
		a, ok := actions[word]
		if err != nil || n < 0 || n > 125 || !ok {
			return s.Fault("status", fmt.Sprintf("status: %q = %q; allowed: 0 to 125 = continue, accept, reject, tempfail, discard, quarantine", code, word))
		}
		set.status[n] = a
	}
	if err := runnable(set.Command); err != nil {
		return s.Fault("command", err.Error())
	}
	f.set, f.dir, f.turns = set, site.StateDirectory, make(chan struct{}, set.AtOnce)
	return nil
}

// runnable checks as this process: what it cannot read, where it is confined, is not there for it.
func runnable(command []string) error {
	if len(command) == 0 {
		return errors.New("command is not set: the program and its arguments, as in [\"/usr/local/bin/check\"]")
	}
	if !filepath.IsAbs(command[0]) {
		return fmt.Errorf("command: %q has to begin with /", command[0])
	}
	st, err := os.Stat(command[0])
	if err != nil {
		return fmt.Errorf("command: %w; a filter sees /usr, /opt and the folder of its program", err)
	}
	if st.IsDir() || st.Mode()&0o111 == 0 {
		return fmt.Errorf("command: %s cannot be executed", command[0])
	}
	return nil
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	select {
	case f.turns <- struct{}{}:
		defer func() { <-f.turns }()
	case <-ctx.Done():
		return nil, errors.New("too many commands are running")
	}
	ctx, cancel := context.WithTimeout(ctx, f.set.timeout)
	defer cancel()
	r, err := e.Message.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, code, err := f.run(ctx, e, r)
	if err != nil {
		return nil, err
	}
	action, ok := f.set.status[code]
	if !ok {
		return nil, fmt.Errorf("%s: exit status %d, which the settings do not know", f.set.Command[0], code)
	}
	v := &filters.Verdict{Action: action}
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) == "" {
			continue
		}
		if err := answer(v, line); err != nil {
			return nil, fmt.Errorf("%s: it says %.80q: %w", f.set.Command[0], line, err)
		}
	}
	return v, nil
}

// run gives what the command prints, and its exit status.
func (f *Filter) run(ctx context.Context, e *filters.Event, message io.Reader) (out string, code int, err error) {
	cmd := exec.CommandContext(ctx, f.set.Command[0], f.set.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = f.dir, environment(e), message
	stdout, stderr := bounded{max: maxOutput}, bounded{max: maxErrors}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and whatever it has started
	cmd.WaitDelay = graceTime
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // mostly there is nobody left
	}
	if text := strings.TrimSpace(stderr.kept.String()); text != "" {
		filters.Log().Warn("the command says", "command", f.set.Command[0], "text", strings.ToValidUTF8(text, "?"))
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("%s did not end within %s", f.set.Command[0], f.set.Timeout)
	case errors.As(err, &exit) && exit.Exited():
		code = exit.ExitCode()
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, exec.ErrWaitDelay):
		code = cmd.ProcessState.ExitCode() // it has not read all, or has left somebody behind
	case err != nil:
		return "", 0, fmt.Errorf("%s: %w", f.set.Command[0], err)
	}
	if stdout.lost {
		return "", 0, fmt.Errorf("%s: it says more than %d octets", f.set.Command[0], maxOutput)
	}
	return stdout.kept.String(), code, nil
}

// environment tells what is known of the session. What others have chosen goes no other way: never into an argument, and never
// as what a shell would run.
func environment(e *filters.Event) []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	for _, v := range [][2]string{
		{"SESSION", e.Session}, {"QUEUE_ID", e.Message.ID}, {"ROLE", e.Role}, {"CLIENT_NAME", shellsafe.Word(e.ClientName, "")},
		{"LOGIN", shellsafe.Word(e.Login, "")}, {"HELO", shellsafe.Word(e.Helo, "")}, {"SENDER", shellsafe.Word(e.Sender, "/")},
		{"RECIPIENTS", fitting(e.Recipients)}, {"RECIPIENT_COUNT", strconv.Itoa(len(e.Recipients))}, {"TLS", e.TLSVersion}, {"SCORE", strconv.FormatFloat(e.Score, 'f', 2, 64)},
	} {
		env = append(env, v[0]+"="+v[1])
	}
	if e.Client.IsValid() {
		env = append(env, "CLIENT_ADDRESS="+e.Client.Addr().Unmap().String())
	}
	return env
}

// maxVariable bounds RECIPIENTS: the kernel refuses to start a command with a variable of 32 pages (execve(2)).
const maxVariable = 120_000

// fitting joins as many recipients as there is room for.
func fitting(rcpts []string) string {
	var b strings.Builder
	for i, r := range rcpts {
		r = shellsafe.Word(r, "")
		if b.Len()+1+len(r) > maxVariable {
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(r)
	}
	return b.String()
}

// answer takes one line of what a command prints.
func answer(v *filters.Verdict, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	name, value, isField := strings.Cut(rest, ":")
	switch word {
	case "text":
		v.Text = rest
	case "score":
		n, err := strconv.ParseFloat(rest, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return errors.New("want a number")
		}
		v.Score += n
	case "add-header":
		if !isField {
			return errors.New("want a field, with its name and a colon")
		}
		v.AddHeader(name, strings.TrimSpace(value))
	case "replace-header":
		if !isField {
			return errors.New("want a field, with its name and a colon")
		}
		v.ReplaceHeader(name, 1, strings.TrimSpace(value))
	case "remove-header":
		v.RemoveHeader(strings.TrimSuffix(rest, ":"), 0)
	case "add-recipient":
		v.AddRecipient(rest)
	case "remove-recipient":
		v.RemoveRecipient(rest)
	case "folder":
		v.Deliver("", rest)
	default:
		return errors.New("want text, score, add-header, replace-header, remove-header, add-recipient, remove-recipient or folder")
	}
	return nil
}

// bounded keeps what is written to it, up to a bound. The buffer is no part of its methods: what copies would read into it.
type bounded struct {
	kept bytes.Buffer
	max  int
	lost bool
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.max-b.kept.Len())
	b.kept.Write(p[:keep])
	b.lost = b.lost || keep < len(p)
	return len(p), nil
}
