package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
)

// person is who this process runs as.
type person struct {
	home, user string
	uid, gid   uint32
	noPrograms error        // why ~/.forward may start none; nil: it may
	fs         durable.FS   // of the mailboxes
	wanted     func() error // an error where nobody waits for what is said here any more
}

func self() person {
	uid := uint32(os.Getuid())
	return person{os.Getenv("HOME"), os.Getenv("USER"), uid, uint32(os.Getgid()), mayRun(uid, passwdFile, shellsFile), durable.OS{}, isAwaited}
}

// isAwaited says that queue-runner still holds the other end of standard output. One that has been killed, or has given this delivery
// up as as-user was, will have it made by another process.
func isAwaited() error {
	for {
		p := []unix.PollFd{{Fd: 1}}
		_, err := unix.Poll(p, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && p[0].Revents&unix.POLLERR != 0:
			return errors.New("who asked for the delivery is gone")
		}
		return nil
	}
}

// checkHome refuses a home in which others could put a ~/.forward or a Maildir.
func (p person) checkHome() error {
	var st unix.Stat_t
	if err := unix.Stat(p.home, &st); err != nil {
		return fmt.Errorf("home %s: %w", p.home, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("home %s is no folder", p.home)
	case st.Uid != p.uid && st.Uid != 0:
		return fmt.Errorf("home %s belongs to uid %d, and not to %s", p.home, st.Uid, p.user)
	case st.Mode&0o002 != 0:
		return fmt.Errorf("home %s is writable by everybody (mode %04o); chmod o-w", p.home, st.Mode&0o7777)
	case st.Mode&0o020 != 0 && st.Gid != p.gid: // who may put a link there chooses which file of the user's is read
		return fmt.Errorf("home %s is writable by group %d, which is not %s's own (mode %04o); chmod g-w", p.home, st.Gid, p.user, st.Mode&0o7777)
	}
	return nil
}

// targets are what ~/.forward names; none where there is no such file, or nothing in it.
func (p person) targets(extension, domain string) ([]asuser.Target, string, error) {
	path, err := findForward(p.home, extension)
	if err != nil || path == "" {
		return nil, path, err
	}
	f := &forward{home: p.home, user: p.user, domain: domain, uid: p.uid, gid: p.gid, noPrograms: p.noPrograms, seen: map[asuser.Target]bool{}}
	err = f.read(path, 0)
	return f.targets, path, err
}

// mailbox is the Maildir of the configuration in this home.
func (p person) mailbox(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(p.home, rest)
	}
	return path
}

// deliver does one delivery: into a Maildir, to a program, or what ~/.forward says of it. Where that names anything but the
// user's own mailbox nothing is delivered, and the targets are what is returned: each of them becomes a delivery of its own,
// with its own fate.
func (p person) deliver(ctx context.Context, d asuser.Delivery, m *letter) (mta.Outcome, []asuser.Target) {
	if err := p.checkHome(); err != nil {
		return unsafe(err), nil
	}
	switch d.Target.Kind {
	case asuser.ToNothing:
		return mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "discarded by the recipient"}, nil
	case asuser.ToMaildir:
		d.Extension, d.Folder = "", "" // it names the folder itself
		return p.intoMaildir(ctx, d, m, d.Target.Value), nil
	case asuser.ToMailbox:
		return p.intoMaildir(ctx, d, m, p.mailbox(d.Mailbox)), nil
	case asuser.ToProgram:
		argv, err := words(d.Target.Value)
		if err == nil {
			err = p.noPrograms
		}
		if err != nil {
			return unsafe(err), nil
		}
		return runProgram(ctx, argv, environment(d), p.home, forwardTime, m.reader()), nil
	case "":
	default:
		return unsafe(fmt.Errorf("a target %q that is none", d.Target.Kind)), nil
	}
	if d.Look { // before ~/.forward has its say: it may be younger than that delivery
		if o, found := p.repair(ctx, d, m); found {
			return o, nil
		}
	}
	targets, _, err := p.targets(d.Extension, d.Recipient.Domain)
	if err != nil {
		return unsafe(err), nil
	}
	if len(targets) > 0 && (len(targets) > 1 || targets[0].Kind != asuser.ToMailbox) {
		return mta.Outcome{}, targets
	}
	return p.intoMaildir(ctx, d, m, p.mailbox(d.Mailbox)), nil
}

// unsafe is a deferral: the user, or the postmaster, can mend it.
func unsafe(cause error) mta.Outcome {
	return deferred("4.3.5", "the recipient's account is not in order at the moment", cause)
}

func (p person) intoMaildir(ctx context.Context, d asuser.Delivery, m *letter, path string) mta.Outcome {
	o, receipt := p.deliverer(d).Deliver(ctx, request(d, m, path))
	if o.Status == mta.Delivered && !receipt.Synced { // and nobody else will: the next try finds it
		return deferred("4.2.0", "the mailbox cannot be written to at the moment", errors.New(path+": the message is there, and could not be synced"))
	}
	return o
}

// repair looks for what an earlier try has delivered into the mailbox.
func (p person) repair(ctx context.Context, d asuser.Delivery, m *letter) (o mta.Outcome, found bool) {
	found, _, err := p.deliverer(d).Repair(ctx, request(d, m, p.mailbox(d.Mailbox)))
	if err != nil {
		return deferred("4.2.0", "the mailbox cannot be read at the moment", err), true
	}
	return mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "found in the mailbox"}, found
}

// deliverer syncs each delivery: its success is told at once.
// Of an earlier try the process may still be there: then it is the one that delivers, or gives up.
func (p person) deliverer(d asuser.Delivery) local.Deliverer {
	return local.Deliverer{FS: p.fs, Host: d.Host, Sync: local.SyncEach, Wanted: p.wanted}
}

func request(d asuser.Delivery, m *letter, path string) local.Request {
	folder := d.Folder
	if folder == "" {
		folder = d.Extension
	}
	return local.Request{
		Mailbox: path, Folder: folder, MakeFolder: d.Folder != "", ID: d.ID, Index: d.Index, ReturnPath: d.Sender, DeliveredTo: d.Recipient,
		Rendered: true, Envelope: &mta.Envelope{Size: m.size}, Content: m.content, Look: d.Look,
	}
}
