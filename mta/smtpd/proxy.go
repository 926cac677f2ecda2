package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyTime is how long a proxy may take to say for whom it speaks.
const proxyTime = 10 * time.Second

var errProxyFamily = errors.New("PROXY header: neither TCP over IPv4 or IPv6 nor unknown")

// unproxy reads the PROXY header, version 1 or 2, of a client whose address is one of Options.ProxyFrom, and puts the true
// client in its place. LOCAL and UNKNOWN leave the proxy's own address: those are its checks of whether we live.
func (s *session) unproxy() error {
	if !within(s.o.ProxyFrom, s.remote.Addr()) {
		return nil
	}
	back := s.c.listen(proxyTime)
	defer back()
	h, err := proxyproto.Read(s.br)
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	s.giveBack()
	if h.Command.IsLocal() || h.SourceAddr == nil {
		return nil
	}
	a, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return errProxyFamily
	}
	s.remote = unmapped(a.AddrPort())
	return nil
}

// giveBack puts what came with the header back in front of the connection: a TLS handshake reads from there.
func (s *session) giveBack() {
	if n := s.br.Buffered(); n > 0 {
		held, _ := s.br.Peek(n)
		nc := s.c.Conn
		s.c.upgrade(&prefixed{Conn: nc, r: io.MultiReader(bytes.NewReader(bytes.Clone(held)), nc)})
		s.br.Reset(s.c)
	}
}

// prefixed is a connection of which some octets were read already.
type prefixed struct {
	net.Conn
	r io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
