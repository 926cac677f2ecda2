package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// ErrUnmatched says that the service manager has handed over a socket that the configuration does not name.
var ErrUnmatched = errors.New("socket that no listener of the configuration asks for")

// inherited is a socket of the service manager that no Listen has asked for yet.
type inherited struct {
	ln  net.Listener
	err error // it is no socket that listens
}

// inherit takes the sockets that the service manager has handed over.
func inherit() []inherited {
	var list []inherited
	for _, f := range activation.Files(true) {
		ln, err := net.FileListener(f)
		if err != nil {
			err = fmt.Errorf("%s from the service manager: %w", f.Name(), err)
		}
		f.Close() // FileListener has made a copy
		list = append(list, inherited{ln, err})
	}
	return list
}

// Listen opens a listener for an address as config.SplitListen reads it. A socket of the service manager at this
// address is taken; otherwise the program binds one. mode is what a Unix socket that is bound here gets.
func (a *App) Listen(address string, mode fs.FileMode) (net.Listener, error) {
	network, where, err := config.SplitListen(address)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", address, err)
	}
	ln := a.claim(network, where)
	activated := ln != nil
	switch {
	case activated:
	case network == "unix":
		ln, err = listenUnix(where, mode)
	default:
		ln, err = listenTCP(where)
	}
	if err != nil {
		return nil, err
	}
	shown := address
	if network == "tcp" {
		shown = ln.Addr().String() // with the port that the kernel chose
	}
	a.Log.Listening(shown, activated)
	return ln, nil
}

// Decline gives up a socket of the service manager at an address that the configuration names and that is to stay closed.
func (a *App) Decline(address string) {
	network, where, err := config.SplitListen(address)
	if err != nil {
		return
	}
	if ln := a.claim(network, where); ln != nil {
		_ = ln.Close()
	}
}

// claim returns the inherited socket at an address, and takes it off the list.
func (a *App) claim(network, where string) net.Listener {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range a.inherited {
		if s.err == nil && sameAddress(s.ln.Addr(), network, where) {
			a.inherited = append(a.inherited[:i:i], a.inherited[i+1:]...)
			return s.ln
		}
	}
	return nil
}

// sameAddress holds a socket's address against one of the configuration; without a host, any of the two unspecified
// addresses will do.
func sameAddress(have net.Addr, network, where string) bool {
	if network == "unix" {
		u, ok := have.(*net.UnixAddr)
		return ok && u.Name == where
	}
	t, ok := have.(*net.TCPAddr)
	if !ok {
		return false
	}
	ap := t.AddrPort()
	if port, found := strings.CutPrefix(where, ":"); found {
		return ap.Addr().IsUnspecified() && fmt.Sprint(ap.Port()) == port
	}
	want, err := netip.ParseAddrPort(where)
	return err == nil && want.Port() == ap.Port() && want.Addr().Unmap() == ap.Addr().Unmap()
}

// unclaimed tells all the inherited sockets that are left.
func (a *App) unclaimed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all error
	for _, s := range a.inherited {
		err := s.err
		if err == nil {
			err = fmt.Errorf("%s: %w; add one, or take the address out of the socket unit (systemctl edit)", s.ln.Addr(), ErrUnmatched)
		}
		all = errors.Join(all, err)
	}
	return all
}

func (a *App) closeInherited() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.inherited {
		if s.ln != nil {
			s.ln.Close()
		}
	}
	a.inherited = nil
}

func listenTCP(where string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", where)
	return ln, explain(err, where)
}

// explain adds to the error of a bind what to do about it.
func explain(err error, where string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen %s: %w: another program listens there, stop it or choose another address", where, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen %s: %w: ports below 1024 come from the service manager's socket unit, or need CAP_NET_BIND_SERVICE", where, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen %s: %w: no interface of this machine has it", where, syscall.EADDRNOTAVAIL)
	}
	return fmt.Errorf("listen %s: %w", where, err)
}

// answerTime is how long somebody may take to answer on a socket that is in the way.
const answerTime = 2 * time.Second

// listenUnix binds a Unix socket; one that a dead process has left behind is removed.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen unix:%s: %w", path, err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen unix:%s: %w", path, errors.Unwrap(err))
	}
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return errors.New("something that is no socket is there")
	}
	c, err := net.DialTimeout("unix", path, answerTime)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("%w: another process answers there", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED): // nobody has it open
		return os.Remove(path)
	}
	return err
}
