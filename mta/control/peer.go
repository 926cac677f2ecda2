package control

import (
	"context"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// nobody is who asks where the kernel does not say.
const nobody = -1

// uidOf asks the kernel who is at the other end of a Unix socket.
func uidOf(nc net.Conn) int {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return nobody
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nobody
	}
	var cred *unix.Ucred
	var gerr error
	err = raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || gerr != nil {
		return nobody
	}
	return int(cred.Uid)
}

type peerKey struct{}

// asking is a connection: who is at its other end, and, by its address, which connection it is.
type asking struct{ uid int }

// connContext keeps with a connection who is at its other end.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	uid := nobody
	if c, ok := nc.(*counted); ok {
		uid = c.uid
	}
	return context.WithValue(ctx, peerKey{}, &asking{uid})
}

func peer(r *http.Request) int {
	if a, ok := r.Context().Value(peerKey{}).(*asking); ok {
		return a.uid
	}
	return nobody
}

// connection tells the requests of one connection, which are one command's, from those of others.
func connection(r *http.Request) any { return r.Context().Value(peerKey{}) }

// mayAll says who may do all: root, and who runs this program.
func mayAll(uid int) bool { return uid == 0 || uid == os.Geteuid() }
