package pop3d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// handoverTime bounds the wait for the first line.
const handoverTime = 30 * time.Second

// ServeHanded is the session of a client who has logged in to another process, which has started this one as the mailbox's
// owner and passes on what the client says. Home is what ~/ means. Confine takes from this process what it does not need beside
// the mailbox; its error says what of that could not be, and is for the log.
func ServeHanded(ctx context.Context, nc net.Conn, home string, confine func(mailbox string) error) error {
	opt := &Options{Metrics: NewMetrics(), IdleTimeout: handoverTime, DrainTimeout: handoverTime}
	c := newConn(nc, opt)
	defer c.Close()
	_ = nc.SetReadDeadline(time.Now().Add(handoverTime))
	line, err := c.r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	var h handover
	if err := json.Unmarshal([]byte(line), &h); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	opt.IdleTimeout, opt.DrainTimeout, opt.LoginDelay, opt.UIDL, opt.RefuseUTF8 = h.Idle, h.Drain, h.LoginDelay, h.UIDL, h.RefuseUTF8
	s := newSession(opt, c, netip.Addr{}, NoTLS)
	s.id, s.identity, s.utf8, s.told = h.Session, h.Identity, h.UTF8, h.Capabilities
	if rest, ok := strings.CutPrefix(h.Mailbox, "~/"); ok {
		h.Mailbox = filepath.Join(home, rest)
	}
	unconfined := confine(h.Mailbox)
	answer := s.take(ctx, h.Mailbox)
	if unconfined != nil {
		answer.Unconfined = unconfined.Error()
	}
	b, err := json.Marshal(answer)
	if err == nil {
		_, err = nc.Write(append(b, '\n'))
	}
	if err != nil || answer.Why != "" {
		s.closeDrop()
		return err
	}
	defer context.AfterFunc(ctx, c.drain)()
	for err == nil {
		var cmd command
		if cmd, err = s.next(ctx); err == nil {
			err = s.perform(ctx, cmd)
		}
	}
	s.closeDrop()
	return errors.Join(ignoring(err), s.flush())
}

// ignoring leaves out the usual ends of a session.
func ignoring(err error) error {
	switch reason(context.Background(), err) {
	case "quit", "client left", "timeout":
		return nil
	}
	return err
}

// take opens the mailbox.
func (s *session) take(ctx context.Context, path string) taken {
	ctx, cancel := context.WithTimeout(ctx, s.opt.IdleTimeout)
	defer cancel()
	drop, err := maildir.OpenMaildrop(ctx, path, maildir.Options{MinInterval: s.opt.LoginDelay})
	t := taken{Why: whyFault}
	switch {
	case err == nil:
		s.drop = drop
		s.begin()
		return taken{Messages: s.count, Octets: s.octets}
	case errors.Is(err, maildir.ErrInUse):
		t.Why = whyInUse
	case errors.Is(err, maildir.ErrTooSoon):
		t.Why = whyTooSoon
	case errors.Is(err, maildir.ErrBadMailbox), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EROFS):
		t.Why = whyMailbox
	}
	t.Text = err.Error()
	return t
}
