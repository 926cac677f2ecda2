package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// tail is how many of a daemon's last lines are shown when it has ended by itself.
const tail = 15

// daemons are the processes of an instance, in the order in which they were started.
type daemons struct {
	in      *instance
	log     *journal
	ctx     context.Context // ends by a signal, or when a daemon does, with the reason as its cause
	fail    context.CancelCauseFunc
	running map[string]*process
	order   []string
}

type process struct {
	name   string
	cmd    *exec.Cmd
	ending atomic.Bool   // it was told to end
	done   chan struct{} // closed when it has ended and its log is read
}

func newDaemons(ctx context.Context, in *instance) *daemons {
	d := &daemons{in: in, log: newJournal(), running: map[string]*process{}}
	d.ctx, d.fail = context.WithCancelCause(ctx)
	return d
}

// start starts a daemon and waits until it says that it is ready.
func (d *daemons) start(name string) (took time.Duration, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(d.ctx, startTime, fmt.Errorf("%s was not ready after %s", name, startTime))
	defer cancel()
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(d.in.bin, name), "--config", d.in.config())
	p.cmd.Dir = d.in.dir
	p.cmd.Env = slices.DeleteFunc(os.Environ(), ofServiceManager)
	p.cmd.ExtraFiles = []*os.File{d.in.lock}
	// A group of its own: Ctrl-C is for this program, which ends the daemons in order. They end by themselves if it dies.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	file, err := os.OpenFile(d.in.path("log", name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	if err := p.cmd.Start(); err != nil {
		file.Close()
		return 0, fmt.Errorf("start %s: %w", name, err)
	}
	d.running[name], d.order = p, append(d.order, name)
	go d.attend(p, stderr, file)
	if err := d.in.note(name, p.cmd.Process.Pid); err != nil {
		return 0, err
	}
	_, err = d.log.wait(ctx, func(e event) bool { return e.program == name && e.fields["event"] == "ready" })
	return time.Since(begun), err
}

// ofServiceManager says whether a variable is meant for the process that it was given to, and not for its children.
func ofServiceManager(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, name)
}

// attend reads a daemon's log to its end, and says so when that comes unasked for.
func (d *daemons) attend(p *process, stderr io.Reader, file io.WriteCloser) {
	defer close(p.done)
	defer file.Close()
	br := bufio.NewReaderSize(stderr, 64<<10)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			_, _ = file.Write(line) // a full disk must not stop the daemon
			d.log.add(p.name, strings.TrimRight(string(line), "\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) { // a line over the buffer comes in pieces
			break
		}
	}
	err := p.cmd.Wait()
	if !p.ending.Load() {
		how := "exit status 0"
		if err != nil {
			how = err.Error()
		}
		d.fail(fmt.Errorf("%s has ended by itself (%s); its last lines:\n%s", p.name, how, d.log.last(p.name, tail)))
	}
}

// stop ends the daemons, the last first, and waits for each. Those that take too long are killed, which is an error.
func (d *daemons) stop() error {
	var late []error
	for _, name := range slices.Backward(d.order) {
		p := d.running[name]
		p.ending.Store(true)
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
		select {
		case <-p.done:
		case <-time.After(stopTime):
			_ = p.cmd.Process.Kill()
			<-p.done
			late = append(late, fmt.Errorf("%s did not end within %s of SIGTERM and was killed; its last lines:\n%s", name, stopTime, d.log.last(name, tail)))
		}
	}
	d.fail(nil)
	return errors.Join(late...)
}
