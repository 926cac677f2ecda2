package spool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// world is one machine: a disk, smtpd, queue-runner, a mail reader, and a ghost that remembers what was promised.
// Its actions are chosen by a seed, so a run can be repeated and stopped at any file operation.
type world struct {
	disk *simdisk.Disk
	rng  *rand.Rand
	now  time.Time
	boot int

	writer *spool.Writer
	store  *spool.Store
	deliv  local.Deliverer
	pair   *interleave
	sync   string // [spool] sync of this machine
	active []*spool.Message
	unsure bool // a Flush failed: no delivery begins before one succeeds

	msgs     map[mta.ID]*ghost
	order    []*ghost
	parts    map[part]*delivery // every (message, recipient) that something was delivered to
	reports  map[part]int       // how many reports about a failure were delivered
	excused  map[part]bool      // ... one of them may have come twice
	crashed  string             // "power", or the name of the process that died
	powered  bool               // a power loss happened
	shape    string             // of the next messages; chosen by the seed where it is empty
	large    bool               // ... with a shape: they are
	blind    int                // so many segments cannot be opened when queue-runner first looks at them
	resting  bool               // no more crashes, and nothing at the same time as something else
	startErr error              // of the last start of queue-runner that failed
	before   map[*delivery]bool // what the checkpoint that is under way makes last
	failures []string
}

// part is one recipient of one message.
type part struct {
	id mta.ID
	i  int
}

// ghost is one message that a client sent.
type ghost struct {
	id     mta.ID
	kinds  string // a letter for each recipient: see address
	state  string // acked, refused, unknown
	body   string
	member map[int]bool
}

// delivery is what is known of one recipient's copies.
type delivery struct {
	count   int
	taken   int  // removed by the reader
	written bool // the record of it was made: a crash of the process cannot lose it
	lasting bool // ... and synced: no crash can
	excuse  int  // copies that may come again: a crash fell between a delivery and its record
}

// address returns the recipient of a kind: L a mailbox, R remote, F remote and refused, D remote and deferred once, W
// deferred for ever, A an alias with two mailboxes, X an alias with a mailbox and a member elsewhere. A report is due
// about these: S remote, E an alias with a mailbox, N remote, and deferred until the sender was told of the delay.
func address(kind byte, i int) mta.Address {
	return mta.Address{Local: fmt.Sprintf("%c%d", kind+32, i), Domain: "x.example"}
}

func kindOf(a mta.Address) byte { return a.Local[0] - 32 }

func newWorld(seed uint64) *world {
	w := &world{
		disk: simdisk.New("spool", "mail"), rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_800_000_000, 0),
		msgs: map[mta.ID]*ghost{}, parts: map[part]*delivery{}, reports: map[part]int{}, excused: map[part]bool{},
	}
	w.disk.Now = func() time.Time { return w.now }
	w.sync = local.SyncAuto
	if seed%3 == 2 {
		w.sync = local.SyncEach
	}
	fsys := w.disk.Process("install")
	for _, err := range []error{spool.MakeDirs(fsys, "/spool/q"), fsys.SyncFS("/spool")} {
		if err != nil {
			panic(err)
		}
	}
	w.startSMTPD()
	w.startRunner()
	return w
}

func (w *world) bootID() string { return fmt.Sprintf("boot-%d", w.boot) }

func (w *world) clock() time.Time { return w.now }

func (w *world) fail(format string, a ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, a...))
}

func (w *world) startSMTPD() {
	w.pair = &interleave{FS: w.disk.Process("smtpd")}
	w.writer = spool.OpenWriter(w.pair, "/spool/q", spool.WriterOptions{Boot: w.bootID(), Now: w.clock})
}

// startRunner starts queue-runner: the spool's start-up, then the look for what earlier runs delivered. It is ready
// only when both went well.
func (w *world) startRunner() {
	fsys := &busy{FS: w.disk.Process("runner"), w: w}
	w.store, w.active, w.unsure = nil, nil, false
	w.deliv = local.Deliverer{FS: fsys, Host: "h", Sync: w.sync}
	s, err := spool.Open(spool.Options{FS: fsys, Root: "/spool/q", Boot: w.bootID(), Now: w.clock})
	if err != nil {
		w.startErr = err
		return // tried again later, as a service manager would
	}
	for _, m := range s.Outstanding() {
		if err := w.repair(s, m); err != nil {
			w.disk.Kill("runner")
			return
		}
	}
	if w.crashed == "" {
		w.store, w.active = s, s.Outstanding()
	}
}

func (w *world) repair(s *spool.Store, m *spool.Message) error {
	l, err := s.Load(m)
	if err != nil {
		return err
	}
	defer l.Close()
	for i, r := range l.Rcpts {
		if r.State != spool.ToDo || kindOf(r.Address) != 'L' {
			continue
		}
		present, receipt, err := w.deliv.Repair(context.Background(), w.request(m, l, i, r, true))
		if err != nil {
			return err
		}
		if present && receipt.Synced {
			s.Record(m, i, spool.Result{Outcome: mta.Outcome{Status: mta.Delivered}})
		} else if present {
			s.Deposited(m, i, receipt.Dev, receipt.Dir)
		}
	}
	return nil
}

func (w *world) request(m *spool.Message, l *spool.Loaded, i int, r spool.Rcpt, look bool) local.Request {
	if g := w.msgs[m.ID()]; g != nil && r.Member {
		g.member[i] = true
	}
	return local.Request{
		Mailbox: mailbox(r.Address), ID: m.ID(), Index: i, ReturnPath: l.Envelope.Sender, DeliveredTo: r.Address,
		Envelope: l.Envelope, Content: l.Content, Look: look, Redo: r.Redo,
	}
}

func mailbox(a mta.Address) string { return "/mail/" + a.Local }

// settleCrash turns a crash that the disk's hook has caused into a restart.
func (w *world) settleCrash() {
	for w.crashed != "" { // a restart may crash again
		what := w.crashed
		w.crashed = ""
		w.restart(what)
	}
}

func (w *world) restart(what string) {
	for p, d := range w.parts {
		if what == "power" && !d.lasting || what == "runner" && !d.written {
			if w.localPart(p) {
				d.excuse = d.taken
			} else {
				d.excuse = d.count
			}
		}
	}
	switch what {
	case "power":
		w.powered = true
		w.boot++
		w.disk.PowerLoss(w.rng)
		w.startSMTPD()
		w.startRunner()
	case "smtpd":
		w.startSMTPD()
	case "runner":
		w.startRunner()
	}
}

func (w *world) localPart(p part) bool {
	g := w.msgs[p.id]
	return g != nil && (p.i < len(g.kinds) && g.kinds[p.i] == 'L' || g.member[p.i])
}

// ---- smtpd

var shapes = []string{"L", "R", "LR", "F", "D", "LD", "FF", "LF", "RW", "A", "X", "LW", "LL", "DF", "AX", "S", "N", "E", "LS", "NF"}

func (w *world) accept() {
	finish, commit := w.begin()
	commit()
	finish()
}

// begin makes a client with a message: commit sends it, finish notes the answer.
func (w *world) begin() (finish, commit func()) {
	g := &ghost{kinds: w.shape, member: map[int]bool{}}
	large, abort := w.large, false
	if g.kinds == "" {
		g.kinds, large, abort = shapes[w.rng.IntN(len(shapes))], w.rng.IntN(6) == 0, w.rng.IntN(12) == 0
	}
	in := w.writer.Begin()
	g.id = in.ID()
	g.body = fmt.Sprintf("Subject: %s\r\n\r\n%s\r\n", g.id, strings.Repeat("text ", w.rng.IntN(20)))
	if large {
		g.body += strings.Repeat("a long line of a large message\r\n", spool.LargeSize/30)
	}
	w.msgs[g.id] = g
	w.order = append(w.order, g)
	return w.session(in, g, abort)
}

// session is what the client and smtpd do with a message that has a body.
func (w *world) session(in *spool.Incoming, g *ghost, abort bool) (finish, commit func()) {
	env := &mta.Envelope{Role: mta.RoleMX, Sender: address('R', 9)}
	for i := range g.kinds {
		env.Rcpts = append(env.Rcpts, mta.Recipient{Address: address(g.kinds[i], i)})
	}
	var err error
	commit = func() {
		_, err = io.WriteString(in, g.body)
		if abort {
			in.Abort()
			return
		}
		if cerr := in.Commit(env); err == nil {
			err = cerr
		}
	}
	finish = func() {
		switch {
		case abort:
			g.state = "refused"
		case errors.Is(err, spool.ErrUnknown): // a crash of smtpd or of the machine, among others
			g.state = "unknown"
		case err != nil:
			g.state = "refused"
		default:
			g.state = "acked"
		}
	}
	return finish, commit
}

// ---- queue-runner

// attempt tries each recipient that is not settled.
func (w *world) attempt(m *spool.Message) {
	l, err := w.store.Load(m)
	if err != nil {
		return
	}
	defer l.Close()
	for i, r := range l.Rcpts {
		if w.unsure {
			w.flush()
		}
		if w.crashed != "" || w.unsure {
			return
		}
		if r.State == spool.ToDo {
			w.try(m, l, i, r)
		}
	}
}

func (w *world) try(m *spool.Message, l *spool.Loaded, i int, r spool.Rcpt) {
	p := part{m.ID(), i}
	w.permitted(p)
	switch kind := kindOf(r.Address); {
	case kind == 'L':
		w.deliverLocal(m, l, i, r)
	case kind == 'A' || kind == 'X' || kind == 'E':
		w.expand(m, l, i, kind)
	case kind == 'F':
		w.store.Record(m, i, spool.Result{Outcome: mta.Outcome{Status: mta.Failed, Code: 550, Text: "no"}})
	case kind == 'W' || kind == 'D' && r.Tries == 0 || kind == 'N' && !r.Late:
		w.store.Record(m, i, spool.Result{Outcome: mta.Outcome{Code: 450, Text: "later"}, Next: w.now.Add(time.Minute)})
	default:
		w.deliverRemote(m, l, p, map[bool]string{true: "relayed"}[kind == 'S'])
	}
}

// permitted checks that a delivery of this message may begin.
func (w *world) permitted(p part) {
	root := mta.ID(string(p.id)[:16])
	if g := w.msgs[root]; g == nil {
		w.fail("3: %s was never sent", p.id)
	} else if g.state == "refused" {
		w.fail("2: %s is delivered after its refusal", p.id)
	}
}

func (w *world) part(p part) *delivery {
	if w.parts[p] == nil {
		w.parts[p] = &delivery{}
	}
	return w.parts[p]
}

func (w *world) deliverLocal(m *spool.Message, l *spool.Loaded, i int, r spool.Rcpt) {
	o, receipt := w.deliv.Deliver(context.Background(), w.request(m, l, i, r, m.Found() || r.Tries > 0))
	if w.crashed == "power" || w.crashed == "runner" {
		return
	}
	if o.Status != mta.Delivered {
		w.store.Record(m, i, spool.Result{Outcome: o, Next: w.now.Add(time.Minute)})
		return
	}
	d := w.part(part{m.ID(), i})
	d.written, d.lasting = false, false
	delete(w.before, d)
	if receipt.Synced {
		w.store.Record(m, i, spool.Result{Outcome: o})
		d.written = w.crashed == ""
		return
	}
	w.store.Deposited(m, i, receipt.Dev, receipt.Dir)
}

func (w *world) deliverRemote(m *spool.Message, l *spool.Loaded, p part, tell string) {
	d := w.part(p)
	d.count++
	d.written, d.lasting = false, false
	if d.count > 1+d.excuse {
		w.fail("3: %v is delivered %d times", p, d.count)
	}
	if rep := l.Envelope.Report; rep != nil && d.count == 1 {
		for _, i := range slices.Concat(rep.Rcpts, rep.Delayed) {
			w.reports[part{rep.Parent, i}]++
		}
	}
	w.store.Record(m, p.i, spool.Result{Outcome: mta.Outcome{Status: mta.Delivered, Code: 250}, Tell: tell})
	d.written = w.crashed == ""
}

func (w *world) expand(m *spool.Message, l *spool.Loaded, i int, kind byte) {
	// A member's number must not depend on what the alias says at the moment: the order changes from run to run.
	members := []mta.Recipient{{Address: address('L', 20+i)}}
	if kind == 'A' {
		members = append(members, mta.Recipient{Address: address('L', 30+i)})
		if w.rng.IntN(2) == 0 {
			members[0], members[1] = members[1], members[0]
		}
	}
	var forward spool.Build
	if kind == 'X' {
		forward = func(id mta.ID, c io.Writer) (*mta.Envelope, error) {
			_, err := io.Copy(c, io.NewSectionReader(l.Content, 0, l.Size))
			return &mta.Envelope{Role: mta.RoleForward, Rcpts: []mta.Recipient{{Address: address('R', 40)}}}, err
		}
	}
	tell := ""
	if kind == 'E' {
		tell = "expanded"
	}
	child, err := w.store.Expand(m, i, members, tell, forward)
	w.made(child, err)
}

// made takes a report or forward; after an error it waits, like all else, for a Flush that succeeds.
func (w *world) made(child *spool.Message, err error) {
	w.unsure = w.unsure || err != nil
	if child != nil && w.crashed == "" {
		w.active = append(w.active, child)
	}
}

func (w *world) report(m *spool.Message) {
	l, err := w.store.Load(m)
	if err != nil {
		return
	}
	defer l.Close()
	var t spool.Telling
	for i, r := range l.Rcpts {
		switch {
		case r.State == spool.Failure:
			t.Failed = append(t.Failed, i)
		case r.State == spool.Success:
			t.Succeeded = append(t.Succeeded, i)
		case r.State == spool.ToDo && !r.Late && r.Tries > 0 && kindOf(r.Address) == 'N':
			t.Delayed = append(t.Delayed, i)
		}
	}
	if len(t.Failed)+len(t.Succeeded)+len(t.Delayed) == 0 || w.crashed != "" {
		return
	}
	child, err := w.store.Report(m, t, func(id mta.ID, c io.Writer) (*mta.Envelope, error) {
		_, err := fmt.Fprintf(c, "Subject: report %s\r\n\r\n%v\r\n", id, t)
		return &mta.Envelope{Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: address('R', 0)}}}, err
	})
	w.made(child, err)
}

func (w *world) checkpoint() {
	w.before = map[*delivery]bool{}
	for p, d := range w.parts {
		if w.localPart(p) {
			w.before[d] = true
		}
	}
	redo, err := w.store.Checkpoint()
	w.active = append(w.active, redo...)
	if err == nil && w.crashed == "" {
		for d := range w.before {
			d.written, d.lasting = true, true
		}
	}
	w.unsure = w.unsure || err != nil
}

func (w *world) flush() {
	err := w.store.Flush()
	w.unsure = err != nil
	if err == nil && w.crashed == "" {
		for _, d := range w.parts {
			if d.written {
				d.lasting = true
			}
		}
	}
}

// ---- the reader

// read is a POP3 session on one mailbox: it checks what it sees, and takes some of it.
func (w *world) read() {
	fsys := w.disk.Process("reader")
	boxes, err := fsys.ReadDir("/mail")
	if err != nil || len(boxes) == 0 || w.store == nil {
		return
	}
	box := filepath.Join("/mail", boxes[w.rng.IntN(len(boxes))])
	for _, dir := range []string{"new", "cur"} {
		names, err := fsys.ReadDir(filepath.Join(box, dir))
		if err != nil {
			continue
		}
		for _, name := range names {
			w.readFile(fsys, box, dir, name)
		}
	}
}

func (w *world) readFile(fsys *simdisk.View, box, dir, name string) {
	path := filepath.Join(box, dir, name)
	p, shown := w.show(fsys, path, name)
	if !shown || w.crashed != "" {
		return
	}
	switch w.rng.IntN(3) {
	case 0:
		if dir == "new" {
			_ = fsys.RenameNoReplace(path, filepath.Join(box, "cur", name+":2,S"))
		}
	case 1:
		if fsys.Remove(path) == nil && fsys.SyncDir(filepath.Dir(path)) == nil {
			d := w.part(p)
			d.taken++
			if d.taken > 1+d.excuse {
				w.fail("3: %v is read %d times", p, d.taken)
			}
		}
	}
}

// show checks a file as a POP3 server would and says whose it is; a file of another size than its name says is hidden.
func (w *world) show(fsys *simdisk.View, path, name string) (part, bool) {
	unique, _, _ := strings.Cut(name, ",")
	id, rest, _ := strings.Cut(unique, ".")
	var p part
	var size int64
	p.id = mta.ID(id)
	_, _ = fmt.Sscanf(rest, "%d.", &p.i)
	_, _ = fmt.Sscanf(name[strings.Index(name, ",S="):], ",S=%d,", &size)
	f, err := fsys.Open(path)
	if err != nil {
		return p, false
	}
	defer f.Close()
	if n, err := f.Size(); err != nil || n != size {
		return p, false
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return p, false
	}
	g := w.msgs[p.id]
	if g == nil {
		w.fail("3: %s holds a message that was never sent", path)
		return p, false
	}
	if want := strings.ReplaceAll(g.body, "\r\n", "\n"); !strings.HasSuffix(string(b), "\n"+want) {
		w.fail("4: %s has %d octets that are not the message", path, size)
	}
	return p, true
}
