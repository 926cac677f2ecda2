package smtpc

import (
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Quiet says that the server has neither said anything since its last reply nor closed the connection, as far as is known
// here. Where it has, the connection is of no use to another transaction: a reply that nobody waited for (one more than an
// LMTP server should give, a farewell) would be taken for that to the next command.
func (c *Client) Quiet() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	conn := c.conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return quiet(conn)
}

// quiet looks for octets that wait in a socket, without taking them. What is no socket does not tell.
func quiet(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		silent = err == unix.EAGAIN || err == unix.EINTR
	})
	return err == nil && silent
}
