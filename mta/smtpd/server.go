package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxBackoff bounds the wait after a failed accept (no more file descriptors, for instance).
const maxBackoff = time.Second

// Server holds the sessions of any number of listeners.
type Server struct {
	options atomic.Pointer[Options]

	mu       sync.Mutex // guards below
	sessions map[*conn]struct{}
	failing  map[string]error // listeners that take no connections, by name
	draining bool
	running  sync.WaitGroup // a session each; grows under mu only while not draining
}

// New returns a Server.
func New(o Options) *Server {
	s := &Server{sessions: map[*conn]struct{}{}, failing: map[string]error{}}
	s.SetOptions(o)
	return s
}

// SetOptions gives new sessions other options.
func (s *Server) SetOptions(o Options) {
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	s.options.Store(&o)
}

// Accepting says why no new connections are taken just now; the error is that of a listener.
func (s *Server) Accepting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, err := range s.failing {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// fails notes what the last attempt to take a connection came to.
func (s *Server) fails(l *Listener, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failing, l.Name)
	} else {
		s.failing[l.Name] = err
	}
}

// Serve takes connections until ctx ends, closes the listeners, and returns when all sessions have ended. Then sessions
// that wait for a command are told 421 at once; content may go on arriving for Options.Drain; a message that is complete
// always gets its reply. A listener that fails for good ends Serve with its error, in the same way.
func (s *Server) Serve(ctx context.Context, listeners ...Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() {
			if err := s.accept(ctx, &l); err != nil {
				cancel(fmt.Errorf("listener %s: %w", l.Name, err))
			}
		})
	}
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close() // what was accepted lives on
	}
	accepting.Wait()
	s.drain()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (s *Server) accept(ctx context.Context, l *Listener) error {
	backoff := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			if backoff > 0 {
				s.fails(l, nil)
			}
			backoff = 0
			s.begin(l, nc)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		s.fails(l, err)
		s.options.Load().Log.SMTPAcceptFailed(l.Name, err)
		backoff = min(max(2*backoff, 5*time.Millisecond), maxBackoff)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return nil
		}
	}
}

// begin starts a session in a goroutine of its own.
func (s *Server) begin(l *Listener, nc net.Conn) {
	o := s.options.Load()
	c := newConn(nc, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		_ = nc.Close()
		return
	}
	s.sessions[c] = struct{}{}
	s.running.Go(func() {
		defer s.forget(c)
		newSession(o, l, c).run()
	})
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

// drain ends all sessions and waits for them.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.each((*conn).Drain)
	cut := time.AfterFunc(s.options.Load().Drain, func() { s.each((*conn).Cut) })
	defer cut.Stop()
	s.running.Wait()
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		do(c)
	}
}
