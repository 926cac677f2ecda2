package smtpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
)

// PeerOf asks the kernel who is at the other end of a Unix socket. A uid without a name logs in as its number.
func PeerOf(nc net.Conn) (Peer, error) {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("peer credentials: not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var gerr error
	if err := raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	if gerr != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", gerr)
	}
	p := Peer{UID: cred.Uid, Login: strconv.FormatUint(uint64(cred.Uid), 10)}
	if u, err := user.LookupId(p.Login); err == nil {
		p.Login = u.Username
	}
	return p, nil
}

// identify finds out who the client is, and returns the address under which it is counted.
func (s *session) identify() (netip.Addr, error) {
	if s.l.Role == mta.RoleLocal || s.lmtp() && s.c.RemoteAddr().Network() == "unix" {
		ask := s.o.Peer
		if ask == nil {
			ask = PeerOf
		}
		p, err := ask(s.c.Conn)
		if err != nil {
			return netip.Addr{}, err
		}
		s.peer = &p
		if s.l.Role == mta.RoleLocal {
			s.login = p.Login
		}
		return uidAddr(p.UID), nil
	}
	ap, err := netip.ParseAddrPort(s.c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("client address: %w", err)
	}
	s.remote = unmapped(ap)
	err = s.unproxy()
	s.came = s.remote
	return s.remote.Addr(), err
}

// uidAddr gives each uid a /64 of its own in 100::/16, where no client has an address (RFC 6666 is in there), so that
// one user's connections count together.
func uidAddr(uid uint32) netip.Addr {
	var b [16]byte
	b[0] = 1
	binary.BigEndian.PutUint32(b[4:], uid)
	return netip.AddrFrom16(b)
}

// client names the client for the log and the envelope.
func (s *session) client() string {
	switch {
	case s.peer != nil:
		return "uid=" + strconv.FormatUint(uint64(s.peer.UID), 10)
	case s.remote.IsValid():
		return s.remote.String()
	}
	return ""
}

// trusted says whether the client may relay without a login.
func (s *session) trusted() bool {
	return s.remote.IsValid() && within(s.o.Trusted, s.remote.Addr())
}
