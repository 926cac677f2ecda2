package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	small     = 10 // messages of a small mailbox
	pipeline  = 50
	bigLogin  = "bench"
	smallName = "small%d"
)

// bench is one run.
type bench struct {
	settings
	dir     string
	trust   *x509.CertPool
	mu      sync.Mutex // guards all
	all     []*server
	order   []string
	results map[string]map[string]result // by figure and server
}

// result is a figure's value: a rate or a size. More is better where up.
type result struct {
	value float64
	unit  string
	up    bool
	cpu   time.Duration // per unit of work; 0: not taken
}

func (b *bench) users() []string {
	users := []string{bigLogin}
	for i := range max(b.clients, b.idle) {
		users = append(users, fmt.Sprintf(smallName, i))
	}
	return users
}

// prepare makes the mailboxes and starts the servers. One that is not here is left out.
func (b *bench) prepare() (err error) {
	if b.trust, err = makeCertificate(b.dir); err != nil {
		return err
	}
	for _, name := range b.servers {
		s, err := b.newServer(name)
		if err != nil {
			return err
		}
		for _, u := range b.users()[1:] {
			if err := makeMailbox(s.user(u), small, b.size, b.sized, mailUID); err != nil {
				return err
			}
		}
		if err := s.start(s); err != nil {
			warn("%s is left out: %v", name, err)
			s.stop()
			continue
		}
		b.mu.Lock()
		b.all = append(b.all, s)
		b.mu.Unlock()
	}
	return nil
}

func (b *bench) stopAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.all {
		s.stop()
	}
	b.all = nil
}

// note keeps a figure if it is the best so far.
func (b *bench) note(figure string, s *server, r result) {
	if b.results[figure] == nil {
		b.results[figure] = map[string]result{}
		b.order = append(b.order, figure)
	}
	if old, ok := b.results[figure][s.name]; ok {
		if r.cpu == 0 || old.cpu > 0 && old.cpu < r.cpu {
			r.cpu = old.cpu
		}
		if r.up && old.value > r.value || !r.up && old.value < r.value {
			r.value = old.value
		}
	}
	b.results[figure][s.name] = r
}

// timed takes the time and the processor time of n units of work.
func (b *bench) timed(figure string, s *server, n int, do func() error) error {
	runtime.GC()
	cpu, began := s.processor(), time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s, %s: %w", s.name, figure, err)
	}
	took := time.Since(began)
	r := result{value: took.Seconds() * 1000, unit: "ms", cpu: s.processor() - cpu}
	if n > 1 {
		r = result{value: float64(n) / took.Seconds(), unit: "/s", up: true, cpu: r.cpu / time.Duration(n)}
	}
	b.note(figure, s, r)
	return nil
}

// round takes all figures of all servers once, on a new mailbox.
func (b *bench) round() error {
	for _, s := range b.all {
		if err := os.RemoveAll(s.user(bigLogin)); err != nil {
			return err
		}
		if err := makeMailbox(s.user(bigLogin), b.messages, b.size, b.sized, mailUID); err != nil {
			return err
		}
	}
	for _, step := range []func(s *server) error{b.first, b.second, b.second, b.later, b.lists, b.retrieve, b.pipelined, b.sessionRate, b.perSession} {
		for _, s := range b.all {
			if err := step(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// stat is a login, STAT and QUIT.
func (b *bench) stat(s *server, user string) error {
	c, err := b.dial(s, user)
	if err != nil {
		return err
	}
	if err := c.ask("STAT", false); err != nil {
		return err
	}
	return c.quit()
}

func (b *bench) first(s *server) error {
	return b.timed("first login, STAT, QUIT", s, 1, func() error { return b.stat(s, bigLogin) })
}

func (b *bench) second(s *server) error {
	return b.timed("next login, STAT, QUIT", s, 1, func() error { return b.stat(s, bigLogin) })
}

func (b *bench) later(s *server) error {
	time.Sleep(b.settle)
	if err := b.stat(s, bigLogin); err != nil {
		return err
	}
	return b.timed("login to a settled mailbox, STAT, QUIT", s, 1, func() error { return b.stat(s, bigLogin) })
}

func (b *bench) lists(s *server) error {
	c, err := b.dial(s, bigLogin)
	if err != nil {
		return err
	}
	for _, list := range []string{"LIST", "UIDL"} {
		for range 3 {
			if err := b.timed(list, s, 1, func() error { return c.ask(list, true) }); err != nil {
				return err
			}
		}
	}
	return c.quit()
}

func (b *bench) retrieve(s *server) error {
	c, err := b.dial(s, bigLogin)
	if err != nil {
		return err
	}
	defer c.Close()
	n := min(b.messages, 10000)
	if err := b.timed("RETR, one by one", s, n, func() error {
		for i := range n {
			if err := c.ask(fmt.Sprintf("RETR %d", i+1), true); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return c.quit()
}

func (b *bench) pipelined(s *server) error {
	c, err := b.dial(s, bigLogin)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.timed(fmt.Sprintf("RETR, by %d", pipeline), s, b.messages, func() error {
		for at := 0; at < b.messages; at += pipeline {
			var commands strings.Builder
			n := min(pipeline, b.messages-at)
			for i := range n {
				fmt.Fprintf(&commands, "RETR %d\r\n", at+i+1)
			}
			if err := c.send(commands.String()); err != nil {
				return err
			}
			for range n {
				if err := c.answer(true); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return c.quit()
}

// sessionRate is logins of several clients at once, each to a small mailbox of its own.
func (b *bench) sessionRate(s *server) error {
	for i := range b.clients { // the first one of each is another figure
		if err := b.stat(s, fmt.Sprintf(smallName, i)); err != nil {
			return err
		}
	}
	return b.timed(fmt.Sprintf("sessions, %d clients", b.clients), s, b.sessions, func() error {
		var left atomic.Int64
		left.Store(int64(b.sessions))
		errs := make(chan error, b.clients)
		for i := range b.clients {
			go func() {
				for left.Add(-1) >= 0 {
					if err := b.stat(s, fmt.Sprintf(smallName, i)); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		var first error
		for range b.clients {
			first = cmp.Or(first, <-errs)
		}
		return first
	})
}

// perSession is what idle sessions take, each logged in to a small mailbox.
func (b *bench) perSession(s *server) error {
	const figure = "memory an idle session"
	if _, done := b.results[figure][s.name]; done {
		return nil // what a server has once had it keeps: only the first round tells
	}
	before := s.memory()
	for i := range b.idle {
		c, err := b.dial(s, fmt.Sprintf(smallName, i))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.ask("STAT", false); err != nil {
			return err
		}
	}
	b.note(figure, s, result{value: float64(s.memory()-before) / float64(b.idle) / 1024, unit: "KB"})
	return nil
}

// print is the table: each figure of each server, and ours beside the best of the others.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "%-40s", "")
	for _, s := range b.all {
		name := s.name
		if !s.tls {
			name += " (no TLS)"
		}
		fmt.Fprintf(w, " %22s", name)
	}
	fmt.Fprintf(w, " %8s %8s\n", "ratio", "of CPU")
	for _, figure := range b.order {
		fmt.Fprintf(w, "%-40s", figure)
		var best, ours result
		var others []result
		for _, s := range b.all {
			r := b.results[figure][s.name]
			cell := fmt.Sprintf("%.*f %s", digits(r.value), r.value, r.unit)
			if r.cpu > 0 {
				cell += fmt.Sprintf(" (%v)", r.cpu.Round(100*time.Nanosecond))
			}
			fmt.Fprintf(w, " %22s", cell)
			if s.name == "posthouse" {
				ours = r
				continue
			}
			others = append(others, r)
		}
		least := time.Duration(0)
		for _, r := range others {
			if best.unit == "" || r.up && r.value > best.value || !r.up && r.value < best.value {
				best = r
			}
			if least == 0 || r.cpu < least {
				least = r.cpu
			}
		}
		if ours.unit != "" && best.unit != "" {
			ratio := ours.value / best.value
			if !ours.up {
				ratio = best.value / ours.value
			}
			fmt.Fprintf(w, " %8.2f", ratio)
			if ours.cpu > 0 && least > 0 {
				fmt.Fprintf(w, " %8.2f", float64(least)/float64(ours.cpu))
			}
		}
		fmt.Fprintln(w)
	}
}

func digits(v float64) int {
	switch {
	case v < 10:
		return 2
	case v < 100:
		return 1
	}
	return 0
}
