package remote

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// headStart is how long the first address has before the other family's is dialled beside it (RFC 8305 5).
const headStart = 250 * time.Millisecond

// otherFamily says that two addresses are of one host, one IPv6 and one IPv4.
func otherFamily(a, b peer) bool {
	return a.host == b.host && a.path == "" && b.path == "" && a.addr.Addr().Is4() != b.addr.Addr().Is4()
}

// dialled is what became of one connect.
type dialled struct {
	i    int
	conn net.Conn
	err  error
}

// dial connects to the first of peers, and to the second, if there is one, when the first has failed or is slow: a
// family that leads nowhere costs a moment, not a timeout. The first connection counts. What has failed is noted; what
// was not needed is returned.
func (d *delivery) dial(ctx context.Context, peers []peer) (conn net.Conn, p peer, left []peer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch := make(chan dialled, len(peers))
	begun, ended := 0, 0
	next := func() {
		i := begun
		begun++
		go func() {
			conn, err := d.connect(ctx, peers[i])
			ch <- dialled{i, conn, err}
		}()
	}
	next()
	wait := time.NewTimer(d.opt.headStart)
	defer wait.Stop()
	failed := make([]bool, len(peers))
	for ended < len(peers) {
		select {
		case <-wait.C:
			if begun < len(peers) {
				next()
			}
			continue
		case r := <-ch:
			ended++
			if r.err == nil {
				conn, p = r.conn, peers[r.i]
				d.tried++
				break
			}
			failed[r.i] = true
			d.tried++
			d.remember(d.outcome(peers[r.i], nil, "connect", mta.Reply{}, &trouble{"4.4.1", "cannot be reached", r.err}))
			d.putAside(ctx, peers[r.i])
			if begun < len(peers) && ctx.Err() == nil {
				next()
			}
		}
		if conn != nil || ctx.Err() != nil && ended == begun {
			break
		}
	}
	cancel()
	for ; ended < begun; ended++ { // the slower one ends with its context
		if r := <-ch; r.conn != nil {
			_ = r.conn.Close()
		}
	}
	for i := range peers {
		if conn != nil && peers[i] != p && !failed[i] {
			left = append(left, peers[i])
		}
	}
	return conn, p, left
}

func (d *delivery) connect(ctx context.Context, p peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opt.Connect)
	defer cancel()
	if p.path != "" {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", p.path)
	}
	var source netip.Addr
	for _, s := range d.opt.Source {
		if s.Is4() == p.addr.Addr().Is4() {
			source = s
			break
		}
	}
	return d.opt.Dial(ctx, source, p.addr)
}
