package pop3d

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves POP3 on any number of listeners.
type Server struct{ opt atomic.Pointer[Options] }

// New returns a Server.
func New(o Options) *Server {
	s := &Server{}
	s.SetOptions(o)
	return s
}

// SetOptions changes the options for connections from now on; those that are open keep theirs.
func (s *Server) SetOptions(o Options) {
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.TLS != nil {
		// Small records at first make a web page appear sooner; mail is whole or nothing.
		o.TLS = o.TLS.Clone()
		o.TLS.DynamicRecordSizingDisabled = true
	}
	s.opt.Store(&o)
}

const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// Serve accepts connections until ctx ends or the listener is closed, and returns once its sessions are over. When ctx
// ends, idle sessions are told and closed; an answer under way may finish within DrainTimeout. The error is nil when ctx
// ended, else the listener's.
func (s *Server) Serve(ctx context.Context, ln net.Listener, mode TLSMode) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	pause := firstPause
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = firstPause
			sessions.Go(func() { s.serveConn(ctx, conn, mode) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of file descriptors, or the peer is gone again: there will be others
			s.opt.Load().Log.POP3AcceptFailed(ln.Addr().String(), err)
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// serveConn is one connection, from the first octet to the last.
func (s *Server) serveConn(ctx context.Context, nc net.Conn, mode TLSMode) {
	opt := s.opt.Load()
	defer nc.Close()
	peer := peerAddr(nc)
	release, err := opt.Conns.Admit(peer)
	if err != nil {
		opt.Metrics.refused.Inc()
		opt.Log.POP3Refused(nc.RemoteAddr().String(), err)
		if mode != Implicit {
			_ = nc.SetWriteDeadline(time.Now().Add(maxPause))
			_, _ = nc.Write([]byte("-ERR [SYS/TEMP] " + err.Error() + ", try again later\r\n"))
		}
		return
	}
	defer release()
	opt.Metrics.accepted.Inc()
	opt.Metrics.connections.Inc()
	defer opt.Metrics.connections.Dec()
	c := newConn(nc, opt)
	stop := context.AfterFunc(ctx, c.drain)
	defer stop()
	newSession(opt, c, peer, mode).run(ctx)
}

// peerAddr returns the peer's address, the zero Addr where it has none.
func peerAddr(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// sleep waits and says whether it waited to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
