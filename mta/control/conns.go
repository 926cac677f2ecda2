package control

import (
	"net"
	"sync"
)

// bounded is a listener that lets so many connections be open at once; more wait in the kernel's queue. Those who may
// list only have a part of the places, and are sent away when it is taken: they must not keep the operator out.
type bounded struct {
	net.Listener
	free   chan struct{}
	others chan struct{}
	may    func(uid int) bool
	done   <-chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	for {
		nc, err := b.Listener.Accept()
		if err != nil {
			<-b.free
			return nil, err
		}
		c := &counted{Conn: nc, uid: uidOf(nc), places: []<-chan struct{}{b.free}}
		if b.may(c.uid) {
			return c, nil
		}
		select {
		case b.others <- struct{}{}:
			c.places = append(c.places, b.others)
			return c, nil
		default:
			_ = nc.Close()
		}
	}
}

// counted is a connection that gives its places back when it is closed.
type counted struct {
	net.Conn
	uid    int // of who is at the other end
	places []<-chan struct{}
	once   sync.Once
}

// Close closes the connection.
func (c *counted) Close() error {
	c.once.Do(func() {
		for _, p := range c.places {
			<-p
		}
	})
	return c.Conn.Close()
}
