package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/confine"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// elsewhere has users of the machine served by processes of theirs, which as-user starts.
type elsewhere struct {
	people directory.Machine
	helper asuser.Client
}

var _ pop3d.Elsewhere = elsewhere{}

// Serves implements pop3d.Elsewhere.
func (e elsewhere) Serves(login string) bool { return e.people.Serves(login) }

// Open implements pop3d.Elsewhere.
func (e elsewhere) Open(ctx context.Context, login, password string) (string, net.Conn, error) {
	name, identity, _ := e.people.Find(ctx, login)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "session")
	defer ours.Close() // FileConn makes a copy
	hold, err := e.helper.Session(ctx, name, password, os.NewFile(uintptr(fds[1]), "session"))
	if err != nil {
		return "", nil, err
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = hold.Close()
		return "", nil, err
	}
	return identity.String(), process{conn.(*net.UnixConn), hold}, nil
}

// process is a connection to a process that as-user keeps for as long as hold is open.
type process struct {
	*net.UnixConn
	hold io.Closer
}

// Close ends the process.
func (p process) Close() error {
	err := p.UnixConn.Close()
	_ = p.hold.Close()
	return err
}

// session is the process: `pop3d --session`, as the mailbox's owner.
func session() int {
	if os.Geteuid() == 0 {
		fmt.Fprintln(os.Stderr, "posthouse-pop3d: --session is for as-user, which starts it as a user")
		return daemon.ExitUsage
	}
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	conn, err := net.FileConn(os.Stdin)
	if err == nil {
		err = pop3d.ServeHanded(ctx, conn, os.Getenv("HOME"), confined)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return daemon.ExitOSError
	}
	return 0
}

// confined leaves the mailbox and what its lock says of this host (maildir).
func confined(mailbox string) error {
	return confine.Process([]string{"/proc/sys/kernel/random/boot_id"}, []string{mailbox})
}
