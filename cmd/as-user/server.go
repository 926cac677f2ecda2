package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
	maxStrangers   = 16               // connections of users who may ask for nothing
	maxConnections = 2048             // at once; each of them is a process, as a rule
	maxOfOne       = 1024             // ... of one user who may ask: a daemon that was broken into leaves room for the others
	requestTime    = 10 * time.Second // for a request to arrive
)

// server answers requests, one a connection.
type server struct {
	log      *maillog.Log
	programs string // the folder of this program, where the others are
	cfg      atomic.Pointer[config.Config]
	checks   chan struct{} // holds one element for each password that is held against /etc/shadow
	// ... and one for each checkpassword program, and for each connection of a user who may ask for nothing.
	programsAsked, strangers chan struct{}

	mu      sync.Mutex         // guards jobs, tenants and asking, and that each process started is in there before anybody looks
	jobs    map[int]bool       // the processes that were started, by id
	tenants map[uint32]*tenant // who has any of them, by uid
	asking  map[uint32]int     // connections of each user
	checked tenant             // root, as whom checkpassword programs run
}

func newServer(log *maillog.Log) *server {
	return &server{log: log, programs: ownFolder(), checks: make(chan struct{}, runtime.NumCPU()), programsAsked: make(chan struct{}, maxPrograms),
		strangers: make(chan struct{}, maxStrangers), jobs: map[int]bool{}, tenants: map[uint32]*tenant{}, asking: map[uint32]int{}}
}

func (s *server) use(c *config.Config) { s.cfg.Store(c) }

// serve answers until ctx ends; then it kills what it has started.
func (s *server) serve(ctx context.Context, ln net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	room := make(chan struct{}, maxConnections)
	for {
		room <- struct{}{}
		nc, err := ln.Accept()
		if err != nil {
			<-room
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, net.ErrClosed):
				return err
			}
			time.Sleep(100 * time.Millisecond) // out of descriptors: there will be others
			continue
		}
		open.Go(func() {
			defer func() { <-room }()
			defer nc.Close()
			if c, ok := nc.(*net.UnixConn); ok {
				s.answer(ctx, c)
			}
		})
	}
}

// answer reads a request, decides on it, and does it.
func (s *server) answer(ctx context.Context, c *net.UnixConn) {
	uid, err := peer(c)
	if err != nil {
		return
	}
	if !s.arrive(uid) {
		return
	}
	defer s.depart(uid)
	_ = c.SetDeadline(time.Now().Add(requestTime))
	if !s.mayAskAnything(uid) { // it is told so, where that keeps no room from those who may
		select {
		case s.strangers <- struct{}{}:
			defer func() { <-s.strangers }()
		default:
			return
		}
	}
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
	case !s.allowed(uid, r.Op):
		s.refuse(c, uid, r, asuser.WhyForbidden, fmt.Errorf("uid %d may not ask for %s", uid, r.Op))
	default:
		s.do(ctx, c, uid, r, in.files)
	}
}

// arrive says whether there is room for another connection of a user.
func (s *server) arrive(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking[uid] == maxOfOne {
		return false
	}
	s.asking[uid]++
	return true
}

func (s *server) depart(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking[uid]--; s.asking[uid] == 0 {
		delete(s.asking, uid)
	}
}

func (s *server) allowed(uid uint32, op asuser.Op) bool {
	if uid == 0 {
		return true
	}
	u, err := user.Lookup(mayAsk[op])
	return err == nil && u.Uid == strconv.FormatUint(uint64(uid), 10)
}

func (s *server) mayAskAnything(uid uint32) bool {
	for op := range mayAsk {
		if s.allowed(uid, op) {
			return true
		}
	}
	return false
}

func (s *server) do(ctx context.Context, c *net.UnixConn, uid uint32, r asuser.Request, files []*os.File) {
	cfg := s.cfg.Load()
	if r.Op == asuser.Session || r.Op == asuser.Check {
		if err := s.checkPassword(ctx, cfg, r.User, r.Password); err != nil {
			why := asuser.WhyFault
			if errors.Is(err, errPassword) {
				why = asuser.WhyPassword
			}
			s.refuse(c, uid, r, why, err)
			return
		}
	}
	if r.Op == asuser.Check {
		s.log.AsUserChecked(r.User, int(uid))
		_ = asuser.WriteReply(c, asuser.Reply{Granted: true})
		return
	}
	j, err := s.job(cfg, r, files)
	if err != nil {
		s.refuse(c, uid, r, asuser.WhyUser, err)
		return
	}
	s.run(ctx, c, uid, j)
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
