package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// mayAsk is what each user may ask for. Root, who could do all of it without asking, may ask for all.
var mayAsk = map[asuser.Op]string{
	asuser.Deliver: layout.UserQueue,
	asuser.Program: layout.UserQueue,
	asuser.Session: layout.UserMail,
	asuser.Check:   layout.UserSMTPD,
}

const (
	// maxOfOne bounds the connections of one user who may ask: a daemon that was broken into leaves room for the others.
	maxOfOne = 1024
	// maxStrangers bounds those of all who may ask for nothing, and are told so.
	maxStrangers = 16
	requestTime  = 10 * time.Second // for a request to arrive
)

// stranger stands in for all users who may ask for nothing; no process has this uid.
const stranger = ^uint32(0)

// settings are what a configuration means here.
type settings struct {
	cfg    *config.Config
	from   *accounts.Source
	may    map[uint32][]asuser.Op // who may ask for what, by uid
	absent []string               // who of them was not found, and why
}

// server answers requests, one a connection.
type server struct {
	log                   *maillog.Log
	programs              string // the folder of this program, where the others are
	set                   atomic.Pointer[settings]
	checks, programsAsked chan struct{} // hold one element for each password that is held against /etc/shadow, and for each checkpassword program

	mu      sync.Mutex         // guards what follows, and that each process started is in jobs before anybody looks
	jobs    map[int]bool       // the processes that were started, by id
	tenants map[uint32]*tenant // who has any of them, by uid
	asking  map[uint32]int     // connections of each user
	asRoot  tenant             // root, as whom checkpassword programs and getent run
}

func newServer(log *maillog.Log) *server {
	return &server{log: log, programs: ownFolder(), checks: make(chan struct{}, runtime.NumCPU()), programsAsked: make(chan struct{}, maxPrograms),
		jobs: map[int]bool{}, tenants: map[uint32]*tenant{}, asking: map[uint32]int{}}
}

// use puts a configuration in force.
func (s *server) use(c *config.Config) {
	set := &settings{cfg: c, from: cmp.Or(s.set.Load(), &settings{}).from.With(c.Mailboxes.SystemAccounts == "nss")}
	if set.from.Start == nil {
		set.from.Start, set.from.Ended = s.startAsRoot, s.endAsRoot
	}
	if set.find(); len(set.absent) > 0 {
		s.log.ConfigWarning(strings.Join(set.absent, "; ") + "; looked for again when somebody connects who may ask for nothing")
	}
	s.set.Store(set)
}

// find looks the daemons' users up. They are those of /etc/passwd, whatever else there is.
func (set *settings) find() {
	set.may, set.absent = map[uint32][]asuser.Op{}, nil
	for op, name := range mayAsk {
		if a, err := (*accounts.Source)(nil).Lookup(context.Background(), name); err == nil {
			set.may[a.UID] = append(set.may[a.UID], op)
		} else {
			set.absent = append(set.absent, fmt.Sprintf("user %s, who may ask for %s: %v", name, op, err))
		}
		set.may[0] = append(set.may[0], op)
	}
}

// serve answers until ctx ends; then it kills what it has started.
func (s *server) serve(ctx context.Context, ln net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			time.Sleep(100 * time.Millisecond) // out of descriptors: there will be others
			continue
		}
		c := nc.(*net.UnixConn)
		uid, err := peer(c)
		if set := s.set.Load(); len(set.absent) > 0 && len(set.may[uid]) == 0 { // it may be there by now
			again := *set
			again.find()
			s.set.CompareAndSwap(set, &again)
		}
		who, most := uid, maxOfOne
		if len(s.set.Load().may[uid]) == 0 {
			who, most = stranger, maxStrangers
		}
		if err != nil || !s.count(who, 1, most) {
			_ = c.Close()
			continue
		}
		open.Go(func() {
			defer s.count(who, -1, most)
			defer c.Close()
			s.answer(ctx, c, uid)
		})
	}
}

// count adds to the connections of a user, and says whether there is room for that.
func (s *server) count(uid uint32, n, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking[uid]+n > most {
		return false
	}
	s.asking[uid] += n
	return true
}

// answer reads a request, decides on it, and does it.
func (s *server) answer(ctx context.Context, c *net.UnixConn, uid uint32) {
	_ = c.SetDeadline(time.Now().Add(requestTime))
	in := &incoming{c: c}
	defer in.close()
	r, err := asuser.ReadRequest(in)
	if err == nil && len(in.files) != r.Op.Descriptors() {
		err = fmt.Errorf("%w: %d descriptors", asuser.ErrMalformed, len(in.files))
	}
	_ = c.SetDeadline(time.Time{})
	switch {
	case err != nil && !errors.Is(err, asuser.ErrMalformed):
		return // who asked is gone
	case err != nil:
		s.refuse(c, uid, asuser.Request{}, asuser.WhyForbidden, err)
	case !slices.Contains(s.set.Load().may[uid], r.Op):
		s.refuse(c, uid, r, asuser.WhyForbidden, fmt.Errorf("uid %d may not ask for %s", uid, r.Op))
	default:
		s.do(ctx, c, uid, r, in.files)
	}
}

func (s *server) do(ctx context.Context, c *net.UnixConn, uid uint32, r asuser.Request, files []*os.File) {
	set := s.set.Load()
	if r.Op == asuser.Session || r.Op == asuser.Check {
		if err := s.checkPassword(ctx, set, r.User, r.Password); errors.Is(err, errPassword) {
			s.refuse(c, uid, r, asuser.WhyPassword, err)
			return
		} else if err != nil {
			s.refuse(c, uid, r, asuser.WhyFault, err)
			return
		}
	}
	if r.Op == asuser.Check {
		s.log.AsUserChecked(r.User, int(uid))
		_ = asuser.WriteReply(c, asuser.Reply{Granted: true})
		return
	}
	j, err := s.job(ctx, set, r, files)
	switch {
	case errors.Is(err, errNobody):
		s.refuse(c, uid, r, asuser.WhyUser, err)
	case err != nil:
		s.refuse(c, uid, r, asuser.WhyFault, err)
	default:
		s.run(ctx, c, uid, j)
	}
}

func (s *server) refuse(c *net.UnixConn, uid uint32, r asuser.Request, why string, err error) {
	s.log.AsUserRefused(string(r.Op), r.User, r.Program, int(uid), why, err)
	_ = asuser.WriteReply(c, asuser.Reply{Why: why, Text: err.Error()})
}

// peer is the user at the other end, as the kernel has it.
func peer(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var gerr error
	err = raw.Control(func(fd uintptr) { cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, gerr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// maxFiles is more than any request has: each octet of one may bring some, and this process has only so many.
const maxFiles = 4

// incoming reads from a connection, and keeps the descriptors that came with its first octets.
type incoming struct {
	c     *net.UnixConn
	files []*os.File
}

func (in *incoming) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := in.c.ReadMsgUnix(p, oob)
	messages, merr := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			in.files = append(in.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if err == nil && (len(in.files) > maxFiles || merr != nil || flags&unix.MSG_CTRUNC != 0) {
		err = fmt.Errorf("%w: too many descriptors", asuser.ErrMalformed)
	}
	return n, err
}

func (in *incoming) close() {
	for _, f := range in.files {
		_ = f.Close()
	}
}
