package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// posthouse is an instance of smtpd and queue-runner, built from this tree.
type posthouse struct {
	dir  string
	keep string // a folder for the logs; "" = they go with the rest
	full string // a spool to begin with, in which messages wait; "" = an empty one
	run  []*exec.Cmd
}

func (p *posthouse) name() string { return "posthouse" }

const posthouseConf = `hostname = "mx.here.test"
state = "%[1]s/state"
run = "%[1]s/run"
log.format = "text"
spool.path = "%[4]s"
mailboxes.path = "%[1]s/mail/{domain}/{local}"
users.file = "%[1]s/users"
[domains."here.test"]
[smtpd]
trusted_networks = ["127.0.0.0/8"]
max_connections = 1000
max_per_client = 1000
require_sender_domain = false
[[smtpd.listen]]
address = "%[2]s"
role = "mx"
[outbound]
smart_host = "smtp:%[3]s"
tls = "none"
resolver = ["127.0.0.1:9"]
dane = false
mta_sts = false
[queue]
max_per_destination = 100
`

func (p *posthouse) start(ctx context.Context, sink string) (string, error) {
	if err := os.RemoveAll(p.dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return "", err
	}
	addr, err := freeAddr()
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", p.dir+"/", "./cmd/smtpd", "./cmd/queue-runner")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	conf, spool := filepath.Join(p.dir, "posthouse.toml"), p.full
	if spool == "" {
		spool = filepath.Join(p.dir, "spool")
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, posthouseConf, p.dir, addr, sink, spool), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "users"), nil, 0o600); err != nil {
		return "", err
	}
	logs := p.dir
	if p.keep != "" {
		logs = p.keep
	}
	p.run = nil
	for _, name := range []string{"queue-runner", "smtpd"} {
		log, err := os.Create(filepath.Join(logs, name+".log"))
		if err != nil {
			return "", err
		}
		cmd := exec.Command(filepath.Join(p.dir, name), "--config", conf)
		cmd.Stderr = log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		err = cmd.Start()
		_ = log.Close() // the process has its own
		if err != nil {
			return "", err
		}
		p.run = append(p.run, cmd)
		if name == "queue-runner" { // the spool is made, and its trigger is read
			if err := ready(ctx, filepath.Join(logs, name+".log")); err != nil {
				return "", err
			}
		}
	}
	return addr, answers(ctx, addr)
}

// ready waits for a program to say so in its log.
func ready(ctx context.Context, log string) error {
	for {
		if b, err := os.ReadFile(log); err != nil || bytes.Contains(b, []byte("event=ready")) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *posthouse) cpu() (sum time.Duration, err error) {
	for _, c := range p.run {
		t, err := treeCPU(c.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

func (p *posthouse) stop() error {
	var first error
	for _, c := range p.run {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range p.run {
		if err := c.Wait(); first == nil {
			first = err
		}
	}
	return first
}
