package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// bare is a spool without messages, and a schedule that does not answer.
type bare struct{ Spool }

func (bare) Outstanding() []*spool.Message { return nil }
func (bare) Find(mta.ID) *spool.Message    { return nil }

var errSchedule = errors.New("the schedule does not answer")

func (bare) States(context.Context, []*spool.Message) ([]State, error) { return nil, errSchedule }

func (bare) Destinations(context.Context) ([]Destination, error) { return nil, errSchedule }

func (bare) Change(context.Context, *spool.Message, Change) error { return errSchedule }

// serve returns a client of a server, and how to end that.
func serve(t testing.TB, s *Server) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c
}

func status(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

func TestOthersListOnly(t *testing.T) {
	s := NewServer(bare{}, bare{})
	s.may = func(uid int) bool { return false }
	c := serve(t, s)
	if err := c.List(t.Context(), Filter{}, func(*Message) error { return nil }); err != nil {
		t.Errorf("list: %v", err)
	}
	if _, err := c.Destinations(t.Context()); status(err) != http.StatusInternalServerError || err.Error() != errSchedule.Error() {
		t.Errorf("destinations: got %v, want what the schedule says", err)
	}
	const id = "0123456789ABCDAB"
	for _, path := range []string{"/queue/" + id, "/queue/" + id + "/content", "/queue/..%2f"} {
		if _, err := c.do(t.Context(), http.MethodGet, path, nil); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "may list the queue only") {
			t.Errorf("%s: got %v, want 403", path, err)
		}
	}
}

func TestRootAndTheOwnerMayAll(t *testing.T) {
	for uid, want := range map[int]bool{nobody: false, 0: true, 65534: false} {
		if got := mayAll(uid); got != want {
			t.Errorf("uid %d: got %v, want %v", uid, got, want)
		}
	}
	c := serve(t, NewServer(bare{}, bare{}))
	if _, err := c.Show(t.Context(), "0123456789ABCDAB"); status(err) != http.StatusNotFound {
		t.Errorf("got %v, want 404: the kernel says that this is the same user", err)
	}
	if _, err := c.Show(t.Context(), "../../etc"); status(err) != http.StatusBadRequest {
		t.Errorf("got %v, want 400", err)
	}
}

func TestMoreConnectionsThanPlacesWait(t *testing.T) {
	c := serve(t, NewServer(bare{}, bare{}))
	var idle []net.Conn
	for range maxConns + 3 {
		nc, err := net.Dial("unix", c.path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, nc)
	}
	for _, nc := range idle {
		nc.Close()
	}
	if err := c.List(t.Context(), Filter{}, func(*Message) error { return nil }); err != nil {
		t.Errorf("list after all have gone: %v", err)
	}
}

// slow is a spool whose lists stand still until the end of the test, save the operator's.
type slow struct {
	bare
	operator   *atomic.Bool
	begun, end chan struct{}
}

func (s slow) Outstanding() []*spool.Message {
	if !s.operator.Load() {
		s.begun <- struct{}{}
		<-s.end
	}
	return nil
}

func TestOthersDoNotKeepTheOperatorOut(t *testing.T) {
	s := NewServer(bare{}, bare{})
	var operator atomic.Bool
	s.may = func(int) bool { return operator.Load() }
	c := serve(t, s)
	var idle []net.Conn
	for range 4 * maxConns {
		nc, err := net.Dial("unix", c.path)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		idle = append(idle, nc)
	}
	if _, err := idle[len(idle)-1].Read(make([]byte, 1)); err != io.EOF { // all were looked at
		t.Errorf("one too many: got %v, want EOF", err)
	}
	operator.Store(true)
	if err := c.List(t.Context(), Filter{}, func(*Message) error { return nil }); err != nil {
		t.Errorf("list: %v", err)
	}
}

func TestSlowListsOfOthersDoNotKeepTheOperatorWaiting(t *testing.T) {
	var operator atomic.Bool
	asked := make(chan struct{}, 100)
	sp := slow{operator: &operator, begun: make(chan struct{}, 2*maxLists), end: make(chan struct{})}
	s := NewServer(sp, bare{})
	s.may = func(int) bool {
		defer func() { asked <- struct{}{} }()
		return operator.Load()
	}
	c := serve(t, s)
	all := func(*Message) error { return nil }
	var lists sync.WaitGroup
	for range 2 * maxLists {
		lists.Go(func() {
			if err := c.List(t.Context(), Filter{}, all); err != nil {
				t.Errorf("list: %v", err)
			}
		})
	}
	for range 2 * 2 * maxLists { // at the door, and in line for a list
		<-asked
	}
	for range otherLists {
		<-sp.begun
	}
	operator.Store(true)
	if err := c.List(t.Context(), Filter{}, all); err != nil {
		t.Errorf("the operator's list: %v", err)
	}
	close(sp.end)
	lists.Wait()
}

func TestAnAbsentServerIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	err := NewClient(path).List(t.Context(), Filter{}, nil)
	if !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrAbsent with the path", err)
	}
}
