package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// sink is a running smtp-sink, which says how many messages it has taken.
type sink struct {
	addr string
	cmd  *exec.Cmd

	mu    sync.Mutex // guards taken
	taken int
}

var messages = regexp.MustCompile(`mesg=(\d+)`)

// Write reads the counters that smtp-sink prints.
func (k *sink) Write(b []byte) (int, error) {
	if all := messages.FindAllSubmatch(b, -1); all != nil {
		n, err := strconv.Atoi(string(all[len(all)-1][1]))
		if err != nil {
			return 0, err
		}
		k.mu.Lock()
		k.taken = max(k.taken, n) // a number that is torn between two reads is too small
		k.mu.Unlock()
	}
	return len(b), nil
}

func startSink(ctx context.Context) (*sink, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	k := &sink{addr: addr, cmd: exec.CommandContext(ctx, "smtp-sink", "-u", "nobody", "-c", addr, "1000")}
	k.cmd.Stdout = k
	if err := k.cmd.Start(); err != nil {
		return nil, err
	}
	if err := answers(ctx, addr); err != nil {
		k.stop()
		return nil, fmt.Errorf("smtp-sink: %w", err)
	}
	return k, nil
}

func (k *sink) stop() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait() // it was killed
}

// wait returns when the sink has taken n messages.
func (k *sink) wait(ctx context.Context, n int) error {
	for ; ; time.Sleep(2 * time.Millisecond) {
		k.mu.Lock()
		taken := k.taken
		k.mu.Unlock()
		if taken >= n {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d messages have arrived: %w", taken, n, context.Cause(ctx))
		}
	}
}

// source sends the messages, and returns when all were accepted.
func source(ctx context.Context, o options, addr string, sessions int) error {
	args := []string{"-s", strconv.Itoa(sessions), "-m", strconv.Itoa(o.n), "-l", strconv.Itoa(o.size),
		"-f", "sender@here.test", "-t", "rcpt@far.test", "-M", "client.here.test"}
	if o.reuse {
		args = append(args, "-d")
	}
	cmd := exec.CommandContext(ctx, "smtp-source", append(args, addr)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("smtp-source: %w: %s", err, said.Bytes())
	}
	if said.Len() > 0 {
		return fmt.Errorf("smtp-source: %s", said.Bytes())
	}
	return nil
}

// freeAddr is an address of the loopback interface that nobody listens at.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// answers waits until somebody listens.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
