package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// staleAge is how old a file in tmp/ is that nobody writes to any more: the tradition's 36 hours.
const staleAge = 36 * time.Hour

func newMailboxRepair(run mailboxRun) *cobra.Command {
	cmd := &cobra.Command{Use: "repair [ADDRESS...]", Short: "Look for what is wrong with mailboxes, and mend it"}
	fix := cmd.Flags().Bool("fix", false, "mend what is found; without it nothing is changed")
	cmd.RunE = run(func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		all, failed := boxes(cmd.Context(), cfg, args)
		if failed != nil && all == nil {
			return failed
		}
		how, err := accessTo(cfg)
		if err != nil {
			return err
		}
		left := 0
		for _, b := range all {
			faults, err := faultsOf(b, how, time.Now())
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("mailbox of %s: %w", b.User, err))
			}
			for _, f := range faults {
				what := "found"
				switch {
				case !*fix || f.mend == nil:
					left++
				default:
					if err := f.mend(); err != nil { // what is wrong elsewhere can be mended all the same
						failed = errors.Join(failed, fmt.Errorf("%s: %s: %w", b.User, f.text, err))
						continue
					}
					what = "mended"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: %s\n", what, b.User, f.text)
			}
		}
		switch {
		case failed != nil || left == 0:
			return failed
		case *fix:
			return &codedError{exitFound, fmt.Errorf("%s left, which only you can mend", count(left, "fault"))}
		}
		return &codedError{exitFound, fmt.Errorf("%s found; --fix mends what can be mended", count(left, "fault"))}
	})
	return cmd
}

// fault is one thing that is wrong with a mailbox; mend is nil where only a human can.
type fault struct {
	text string
	mend func() error
}

// access is how mailboxes are shared on this machine.
type access struct {
	shared   bool // by a group, which the folder above all mailboxes hands down; else one user runs all
	uid, gid int
	pop      int             // the user of pop3d, -1 where there is none
	root     string          // the folder above all mailboxes
	above    map[string]bool // folders below it that have been looked at
}

// accessTo looks at the folder above all mailboxes, and who the queue is.
func accessTo(cfg *config.Config) (access, error) {
	how := access{uid: os.Geteuid(), gid: os.Getegid(), pop: -1, root: layout.MailRoot(cfg), above: map[string]bool{}}
	if u, err := user.Lookup(layout.UserMail); err == nil {
		how.pop, _ = strconv.Atoi(u.Uid)
	}
	if err := rootFirst(cfg, how.root); err != nil {
		return how, err
	}
	if st, err := os.Stat(cfg.Spool.Path); err == nil {
		how.uid = int(st.Sys().(*syscall.Stat_t).Uid)
	}
	st, err := os.Stat(how.root)
	if errors.Is(err, fs.ErrNotExist) {
		return how, nil
	}
	if err != nil {
		return how, err
	}
	if how.shared = st.Mode()&fs.ModeSetgid != 0; how.shared {
		how.gid = int(st.Sys().(*syscall.Stat_t).Gid)
	}
	return how, nil
}

// rootFirst refuses to judge by a folder that is itself not as it should be: what is below it would be made like it.
func rootFirst(cfg *config.Config, root string) error {
	if daemon.Private(cfg) || len(layout.Missing()) > 0 {
		return nil
	}
	for _, e := range layout.Of(cfg) {
		if err := e.Check(); e.Path == root && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &codedError{exitConfig, fmt.Errorf("%w; mailboxes are made like the folder above them: first posthouse folders --fix", err)}
		}
	}
	return nil
}

// faultsOf looks through a mailbox. One that is not there has no faults.
func faultsOf(b box, how access, now time.Time) ([]fault, error) {
	all, err := maildir.Boxes(durable.OS{}, b.Path)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	l := &looking{b: b, how: how, now: now}
	l.folders()
	for _, path := range all {
		if err := l.box(path); err != nil {
			return l.faults, err
		}
	}
	if b.Quota > 0 {
		h, err := maildir.Measure(durable.OS{}, b.Path)
		if err != nil {
			return l.faults, nil // the fault that is in its way is told of
		}
		said, ok, err := b.counter().Said()
		if err != nil {
			return l.faults, err
		}
		if st, err := os.Lstat(filepath.Join(b.Path, maildir.QuotaFile)); err == nil && st.IsDir() {
			return l.faults, nil // this has been told of
		}
		if !ok || said != h.Counted {
			l.found(func() error { return recountBox(b) }, "the quota file says %d messages and %d octets, there are %d and %d", said.Messages, said.Octets, h.Counted.Messages, h.Counted.Octets)
		}
	}
	return l.faults, nil
}

// looking is a look through one mailbox.
type looking struct {
	b      box
	how    access
	now    time.Time
	faults []fault
}

// folders looks at those between the folder above all mailboxes and this one, once for all mailboxes below.
func (l *looking) folders() {
	for dir := filepath.Dir(l.b.Path); l.how.shared && strings.HasPrefix(dir, l.how.root+"/") && !l.how.above[dir]; dir = filepath.Dir(dir) {
		l.how.above[dir] = true
		l.mode(dir, 0o770)
	}
}

func (l *looking) found(mend func() error, format string, args ...any) {
	l.faults = append(l.faults, fault{printable(fmt.Sprintf(format, args...)), mend}) // others have named the files
}

// box looks through the inbox or a folder. What begins with a dot and has no part of a Maildir is somebody else's.
func (l *looking) box(path string) error {
	parts, some := map[string]fs.FileInfo{}, path == l.b.Path
	for _, name := range []string{"tmp", "cur", "new", "maildirfolder"} {
		st, err := os.Lstat(filepath.Join(path, name))
		if err == nil {
			parts[name], some = st, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !some {
		return nil
	}
	l.mode(path, 0o770)
	for _, name := range []string{"tmp", "cur", "new"} { // in the order in which a delivery makes them
		dir := filepath.Join(path, name)
		switch st := parts[name]; {
		case st == nil:
			l.found(func() error { return l.makeDir(dir) }, "%s is missing", dir)
		case !st.IsDir():
			l.found(nil, "%s is no folder: move it away", dir)
		default:
			l.mode(dir, 0o770)
			if err := l.messages(dir, name == "tmp"); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{maildir.QuotaFile, "maildirfolder"} {
		file := filepath.Join(path, name)
		st, err := os.Lstat(file)
		perm := fs.FileMode(0o640)
		if name == maildir.QuotaFile {
			perm = 0o660
		}
		switch {
		case err != nil: // neither need be there
		case name == maildir.QuotaFile && st.IsDir():
			l.found(nil, "%s is no file: move it away", file)
		default:
			l.mode(file, perm)
		}
	}
	if path == l.b.Path {
		for _, name := range []string{maildir.LockFile, maildir.LeaseFile, maildir.CacheFile, maildir.UIDLFile} {
			l.pop(filepath.Join(path, name), 0o660)
		}
		for _, name := range []string{maildir.DovecotList, maildir.CourierList} {
			l.pop(filepath.Join(path, name), 0o640)
		}
	}
	return nil
}

// pop looks whether pop3d can work with a file: as its owner, as after it has made it, or in the group, as after a move.
func (l *looking) pop(path string, perm fs.FileMode) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return
	}
	if l.how.shared && int(st.Sys().(*syscall.Stat_t).Uid) == l.how.pop && st.Mode()&0o600 == 0o600 {
		return
	}
	l.mode(path, perm)
}

// messages looks at the files of tmp/, new/ or cur/.
func (l *looking) messages(dir string, tmp bool) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		path := filepath.Join(dir, e.Name())
		st, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(e.Name(), "."):
			continue
		case err != nil:
			return err
		case !st.Mode().IsRegular() && !tmp:
			l.found(nil, "%s is no message: move it away", path)
		case tmp && l.now.Sub(st.ModTime()) > staleAge:
			l.found(func() error { return os.RemoveAll(path) }, "%s was left unfinished on %s", path, st.ModTime().Format(time.DateOnly))
		case !tmp:
			l.mode(path, 0o640)
		}
	}
	return nil
}

// mode looks whether those who share the mailbox can work with a file or folder, and nobody else.
func (l *looking) mode(path string, perm fs.FileMode) {
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != 0 && !st.IsDir() {
		return // gone, or told of elsewhere
	}
	sys := st.Sys().(*syscall.Stat_t)
	want, uid, gid := perm, -1, -1
	bad := st.Mode()&perm != perm || st.Mode().Perm()&0o007 != 0
	if l.how.shared {
		if st.IsDir() {
			want |= fs.ModeSetgid
			bad = bad || st.Mode()&fs.ModeSetgid == 0
		}
		if int(sys.Gid) != l.how.gid {
			gid, bad = l.how.gid, true
		}
	} else {
		want &= 0o700
		bad = st.Mode()&want != want || st.Mode().Perm()&0o007 != 0
		want |= st.Mode().Perm() &^ 0o007
		if int(sys.Uid) != l.how.uid {
			uid, bad = l.how.uid, true
		}
	}
	if !bad {
		return
	}
	text := fmt.Sprintf("%s has mode %s", path, layout.Octal(st.Mode()))
	switch {
	case gid >= 0:
		text += fmt.Sprintf(" and group %d, where %d is to have it", sys.Gid, gid)
	case uid >= 0:
		text += fmt.Sprintf(" and owner %d, where %d is to have it", sys.Uid, uid)
	}
	l.found(func() error { return giveMode(path, want, uid, gid) }, "%s, and should have %s", text, layout.Octal(want))
}

// giveMode changes what is no link. A message that a reader has moved or removed since is no fault any more.
func giveMode(path string, mode fs.FileMode, uid, gid int) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if uid >= 0 || gid >= 0 { // first: it takes set-id bits away
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// makeDir makes a folder that is missing as the mailbox's owner would.
func (l *looking) makeDir(dir string) error {
	st, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if err := ownedBy(st).Mkdir(dir, 0o770); err != nil {
		return err
	}
	if !l.how.shared {
		return nil
	}
	return giveMode(dir, fs.ModeSetgid|0o770, -1, l.how.gid)
}
