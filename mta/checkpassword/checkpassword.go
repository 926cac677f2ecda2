// Package checkpassword asks a program whether a password is a user's, by the interface that qmail made: descriptor 3 has
// the login, the password and a timestamp, each ended by an octet 0, at most 512 octets in all; an exit status of 0 says yes,
// 1 no, 2 that the program was misused, 111 that it cannot tell for the moment (cr.yp.to, checkpwd/interface). On success the
// program runs another, which is /bin/true here: it is asked, and that is all.
//
// as-user asks for the machine's users as root, so that PAM can be behind it, and the daemons for virtual users as themselves.
package checkpassword

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
)

const (
	// Timeout is how long the program may take; then it is killed, with its process group. PAM's own delay after a failure,
	// about two seconds, is well below, and who waits for as-user waits twice as long.
	Timeout = 15 * time.Second
	// maxData is what the interface allows on descriptor 3. A pipe holds more: writing it never waits.
	maxData = 512
	// outputTime is how long the output may stay open behind the program's end, by processes that it has left.
	outputTime = time.Second
	// maxOutput is how much of its output is kept, for the log.
	maxOutput = 500
)

// Stranger is who a program is asked for in place of those who may not log in, so that it takes its time for them too, and no
// account of the system or of another service is tried or locked through us. Neither an account nor an address can be that.
const Stranger = "posthouse:nobody"

// checked is the program that is run when the password is right.
const checked = "/bin/true"

// environment is all that the program has of one.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}

// Program is a checkpassword program.
type Program struct {
	Command []string // its path and its arguments
	// Start starts the process, and Ended is told that it is over; nil for exec.Cmd.Start and for nothing.
	Start func(*exec.Cmd) error
	Ended func(pid int)
	// Timeout is instead of the constant, where it is not 0.
	Timeout time.Duration
}

// Check says whether a password is the login's: nil, mta.ErrCredentials, or what keeps the program from telling, which says
// what to do and has nothing of the password in it. What the interface cannot carry is nobody's password.
func (p Program) Check(ctx context.Context, login, password string) error {
	data := login + "\x00" + password + "\x00" + strconv.FormatInt(time.Now().Unix(), 10) + "\x00"
	if login == "" || password == "" || len(data) > maxData || strings.Count(data, "\x00") != 3 {
		return mta.ErrCredentials
	}
	limit := p.Timeout
	if limit == 0 {
		limit = Timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("killed after %v: it may not take longer", limit))
	defer cancel()
	said := &output{}
	cmd, err := p.run(ctx, data, said)
	switch {
	case cmd.ProcessState == nil:
		return fmt.Errorf("checkpassword program %s cannot be started: %w; see users.checkpassword.command", cmd.Path, err)
	case ctx.Err() != nil:
		return fmt.Errorf("checkpassword program %s: %w%s", cmd.Path, context.Cause(ctx), said.quote(password))
	}
	switch cmd.ProcessState.ExitCode() {
	case 0:
		return nil
	case 1:
		return mta.ErrCredentials
	case 2:
		return fmt.Errorf("checkpassword program %s says that it is not used rightly (exit status 2): are its arguments in users.checkpassword.command right?%s", cmd.Path, said.quote(password))
	case 111:
		return fmt.Errorf("checkpassword program %s cannot tell for the moment (exit status 111): look at what it asks%s", cmd.Path, said.quote(password))
	}
	return fmt.Errorf("checkpassword program %s ended with %v, which means nothing to its interface: run it by hand%s", cmd.Path, cmd.ProcessState, said.quote(password))
}

// run has the program read data, and waits for its end. All of its process group ends with it.
func (p Program) run(ctx context.Context, data string, said *output) (*exec.Cmd, error) {
	argv := append(p.Command[:len(p.Command):len(p.Command)], checked)
	cmd := &exec.Cmd{Path: argv[0], Args: argv, Env: environment, Dir: "/", Stdout: said, Stderr: said, WaitDelay: outputTime,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	r, w, err := os.Pipe()
	if err != nil {
		return cmd, err
	}
	defer r.Close()
	_, err = w.WriteString(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return cmd, err
	}
	cmd.ExtraFiles = []*os.File{r} // descriptor 3
	start := (*exec.Cmd).Start
	if p.Start != nil {
		start = p.Start
	}
	if err := start(cmd); err != nil {
		return cmd, err
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stop := context.AfterFunc(ctx, kill)
	// As long as nobody has waited for it, its id, which is its group's too, is no other's.
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	stop()
	kill() // what it has left in its group
	err = cmd.Wait()
	if p.Ended != nil {
		p.Ended(cmd.Process.Pid)
	}
	return cmd, err
}

// output keeps the beginning of what is written to it, and takes all of it.
type output struct{ b bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	o.b.Write(p[:min(len(p), maxOutput+maxData-o.b.Len())]) // so that a password that begins in what is shown is all there
	return len(p), nil
}

// quote is what the program has said, for the end of an error; not where the password is in it.
func (o *output) quote(password string) string {
	said := o.b.String()
	if strings.Contains(said, password) {
		return "; what it says holds the password and is not shown"
	}
	said = said[:min(len(said), maxOutput)]
	if said = strings.Join(strings.Fields(strings.ToValidUTF8(said, "?")), " "); said != "" {
		return "; it says: " + said
	}
	return ""
}
