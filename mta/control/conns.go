package control

import (
	"net"
	"sync"
)

// bounded is a listener that lets so many connections be open at once; more wait in the kernel's queue.
type bounded struct {
	net.Listener
	free chan struct{}
	done <-chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &counted{Conn: c, free: b.free}, nil
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	free <-chan struct{}
	once sync.Once
}

// Close closes the connection.
func (c *counted) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
