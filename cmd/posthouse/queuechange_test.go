package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// plan is a schedule that does nothing but to note what it was asked for. Messages in busy are refused.
type plan struct {
	mu      sync.Mutex // guards changed
	changed []string
	busy    map[mta.ID]bool
	dests   []control.Destination
}

func (p *plan) States(_ context.Context, ms []*spool.Message) ([]control.State, error) {
	return make([]control.State, len(ms)), nil
}

func (p *plan) Destinations(context.Context) ([]control.Destination, error) { return p.dests, nil }

func (p *plan) Change(_ context.Context, m *spool.Message, c control.Change) error {
	if p.busy[m.ID()] {
		return control.ErrBusy
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = append(p.changed, c.Op)
	return nil
}

// queueOf starts the control socket over a spool with n messages, and returns the configuration.
func queueOf(t *testing.T, n int) (conf string, p *plan, ids []mta.ID) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph") // a test's own name may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	root := filepath.Join(dir, "spool")
	if err := errors.Join(spool.MakeDirs(durable.OS{}, root), os.MkdirAll(filepath.Join(dir, "run/queue"), 0o700)); err != nil {
		t.Fatal(err)
	}
	conf = filepath.Join(dir, "posthouse.toml")
	writeFile(t, conf, fmt.Sprintf("hostname = \"mail.example.org\"\nrun = %q\n[spool]\npath = %q\n", filepath.Join(dir, "run"), root))
	boot, err := spool.BootID()
	if err != nil {
		t.Fatal(err)
	}
	w := spool.OpenWriter(durable.OS{}, root, spool.WriterOptions{Boot: boot, Notify: func() {}})
	var wg sync.WaitGroup
	list := make([]mta.ID, n)
	for i := range n {
		wg.Go(func() {
			in := w.Begin()
			_, err := io.WriteString(in, "Subject: x\r\n\r\nx\r\n")
			e := &mta.Envelope{Role: mta.RoleMX, Rcpts: []mta.Recipient{{Address: mta.Address{Local: "x", Domain: "far.test"}}}}
			if err := errors.Join(err, in.Commit(e)); err != nil {
				t.Error(err)
			}
			list[i] = in.ID()
		})
	}
	wg.Wait()
	w.Close()
	store, err := spool.Open(spool.Options{FS: durable.OS{}, Root: root, Boot: boot, Log: maillog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	ln, err := net.Listen("unix", filepath.Join(dir, "run/queue", control.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	p = &plan{busy: map[mta.ID]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.NewServer(store, p).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conf, p, list
}

// onTerminal runs a command whose input and errors are a terminal on which a line is typed.
func onTerminal(t *testing.T, typed string, args ...string) (code int, out, shown string) {
	t.Helper()
	master, tty := openPTY(t)
	var seen bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&seen, master) // ends with an error when nobody has the other end open
	}()
	if _, err := master.WriteString(typed + "\n"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	code = execute(t.Context(), args, tty, &b, tty)
	_ = tty.Close()
	<-read
	return code, b.String(), seen.String()
}

func TestBulkChangesAskOnATerminal(t *testing.T) {
	conf, p, _ := queueOf(t, 2*control.MaxIDs+1)
	for _, c := range []struct {
		typed, filter string
		code, changed int
		out, shown    string
	}{
		{"n", "--all", 75, 0, "", "401 messages to be removed: go on? [y/N]"},
		{"", "--all", 75, 0, "", "nothing was done"},
		{"yessir", "--all", 75, 0, "", "nothing was done"},
		{"y", "--domain=none.test", 0, 0, "no such message in the queue\n", ""},
		{"y", "--domain=far.test", 0, 401, "401 messages removed\n", "200 of 401\r400 of 401\r401 of 401"},
	} {
		p.changed = nil
		code, out, shown := onTerminal(t, c.typed, "queue", "remove", "-c", conf, c.filter)
		if code != c.code || len(p.changed) != c.changed || out != c.out || !strings.Contains(shown, c.shown) {
			t.Errorf("%q: got %d, %d changed, %q, %q; want %d, %d, %q, %q", c.typed, code, len(p.changed), out, shown, c.code, c.changed, c.out, c.shown)
		}
	}
}

func TestBulkChangesWithoutATerminalWantYes(t *testing.T) {
	conf, p, ids := queueOf(t, control.MaxIDs+1)
	p.busy[ids[0]] = true
	var out, errOut bytes.Buffer
	run := func(args ...string) int {
		out.Reset()
		errOut.Reset()
		return execute(t.Context(), append([]string{"queue", "hold", "-c", conf}, args...), strings.NewReader("y\n"), &out, &errOut)
	}
	if code := run("--all"); code != 64 || len(p.changed) != 0 || !strings.Contains(errOut.String(), "201 messages to be held: nobody can be asked, say --yes") {
		t.Errorf("got %d, %d changed, %q", code, len(p.changed), &errOut)
	}
	want := string(ids[0]) + ": a delivery of it is under way: try again later\nposthouse: 1 of 201 messages not held\n"
	if code := run("--all", "--yes"); code != 75 || len(p.changed) != control.MaxIDs || out.String() != "200 messages held\n" || errOut.String() != want {
		t.Errorf("got %d, %d changed, %q, %q; want no progress where there is no terminal", code, len(p.changed), &out, &errOut)
	}
	for _, args := range [][]string{{}, {"--all", "--domain=far.test"}, {string(ids[1]), "--all"}} {
		if code := run(args...); code != 64 || !strings.Contains(errOut.String(), "in one way") {
			t.Errorf("%q: got %d, %q", args, code, &errOut)
		}
	}
	if code := run("0123456789ABCDAB"); code != 66 {
		t.Errorf("an unknown one: got %d, %q; want 66", code, &errOut)
	}
}
