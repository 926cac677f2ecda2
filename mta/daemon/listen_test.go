package daemon

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

func mustAddrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func listenApp() (*App, *output) {
	log := &output{}
	a := newApp("testd", "", &config.Config{}, log)
	a.Log = maillog.New(maillog.NewText(log, nil))
	a.notify = func(string) {}
	return a, log
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	a, log := listenApp()
	ln, err := a.Listen("127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	where := ln.Addr().String()
	wantLog(t, log, "event=listening address="+where)
	_, err = a.Listen(where, 0)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listen "+where+": address already in use: ") {
		t.Errorf("got %v, want the address that is in use", err)
	}
	if _, err = a.Listen("192.0.2.1:0", 0); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("got %v, want an address that is not of this machine", err)
	}
}

func TestUnixSockets(t *testing.T) {
	a, _ := listenApp()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := a.Listen("unix:"+path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("got %v, %v; want mode 0666", st, err)
	}
	if _, err := a.Listen("unix:"+path, 0o666); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket that answers: got %v, want %v", err, syscall.EADDRINUSE)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that was killed leaves it
	ln.Close()
	again, err := a.Listen("unix:"+path, 0o600)
	if err != nil {
		t.Fatalf("a socket that nobody has open: got %v", err)
	}
	again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Listen("unix:"+path, 0o600); err == nil {
		t.Error("a file in the place of the socket: got no error")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestSocketsOfTheServiceManager(t *testing.T) {
	a, log := listenApp()
	var names []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		a.inherited = append(a.inherited, inherited{ln: ln})
		names = append(names, ln.Addr().String())
	}
	ln, err := a.Listen(names[1], 0)
	if err != nil {
		t.Fatal(err)
	}
	wantLog(t, log, "event=listening address="+names[1]+" activated=systemd")
	if ln.Addr().String() != names[1] {
		t.Errorf("got %v, want %s", ln.Addr(), names[1])
	}
	if err := a.Ready(); !errors.Is(err, ErrUnmatched) || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("got %v, want the socket %s that nobody asked for", err, names[0])
	}
	a.Decline(names[0])
	if err := a.Ready(); err != nil {
		t.Errorf("one socket is served and one declined: got %v", err)
	}
	if c, err := net.Dial("tcp", names[1]); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}
