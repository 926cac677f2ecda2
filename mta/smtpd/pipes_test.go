package smtpd_test

import (
	"net"
	"sync"
)

// pipes is a listener whose connections are in memory, so that synctest's clock governs them.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
	init  sync.Once
}

func (l *pipes) closed() chan struct{} {
	l.init.Do(func() { l.done = make(chan struct{}) })
	return l.done
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed():
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	done := l.closed()
	l.once.Do(func() { close(done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// dial returns the client's end of a new connection.
func (l *pipes) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- pipe{server}
	return client
}

type pipe struct{ net.Conn }

func (pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4321} }

// withHeader sends a header in one write with what comes first.
type withHeader struct {
	net.Conn
	header string
}

func (c *withHeader) Write(b []byte) (int, error) {
	if c.header == "" {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(append([]byte(c.header), b...))
	n -= len(c.header)
	c.header = ""
	return n, err
}
