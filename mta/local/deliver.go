package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// Values of Deliverer.Sync ([spool] sync).
const (
	SyncAuto    = "auto"    // batched where a sync of the whole filesystem reaches this machine's disk, each elsewhere
	SyncBatched = "batched" // none here: a checkpoint of the spool syncs the filesystem
	SyncEach    = "each"    // file and name, before the delivery counts
)

// Deliverer delivers into Maildirs of this host. It is safe for use by many goroutines.
type Deliverer struct {
	FS   durable.FS
	Host string // stands in the file names
	Sync string
	// Wanted says whether who asked for the delivery is still there (maildir.Mailbox); nil: nobody else delivers the same message.
	Wanted func() error

	Quotas       *Quotas // nil: quotas are not looked at
	QuotaBounces bool    // a message that is too much goes back at once; it waits otherwise
	QuotaWarning int     // the user is told when a mailbox comes to hold so much of its quota, in percent; 0 = never

	Welcome []byte // the first message of a mailbox that is made (see ReadWelcome); nil: none
}

// Request is one message for one recipient.
type Request struct {
	Mailbox     string      // the Maildir
	Login       mta.Address // whose it is
	Quota       int64       // of the mailbox, octets; 0 = none
	Folder      string      // a Maildir++ folder: used when it exists, the inbox otherwise
	MakeFolder  bool        // it is made where it is missing: a filter wants it, and no stranger has chosen its name
	ID          mta.ID
	Index       int // the recipient's number in the message
	ReturnPath  mta.Address
	DeliveredTo mta.Address
	Envelope    *mta.Envelope
	Content     io.ReaderAt
	Rendered    bool // Content is the message as it is to stand in the mailbox, Envelope.Size its length
	// Look says that an earlier try may have delivered: the message was in the spool at start-up, or an attempt ended
	// with an error.
	Look bool
	// Redo says that this process did deliver and the disk may have lost it: the file is written anew. One that is not
	// there any more was taken by a reader.
	Redo bool
	// Sync says that this delivery must last when it counts, whatever Deliverer.Sync says.
	Sync bool
}

// Receipt tells how lasting a delivery is: Synced ones are durable, others once the filesystem Dev, in which Dir is,
// has been synced.
type Receipt struct {
	Synced bool
	Dev    uint64
	Dir    string
}

// Deliver delivers. The outcome is Delivered, Deferred, or, where the quota does not allow it, Failed; of an error the sender
// learns only that the mailbox cannot be written to at the moment.
func (d Deliverer) Deliver(ctx context.Context, r Request) (mta.Outcome, Receipt) {
	if err := ctx.Err(); err != nil {
		return outcome(err), Receipt{}
	}
	receipt, err := d.deliver(r)
	if errors.Is(err, errFull) {
		return d.full(err), Receipt{}
	}
	if err != nil {
		return outcome(err), Receipt{}
	}
	return mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "delivered to the mailbox"}, receipt
}

func (d Deliverer) deliver(r Request) (Receipt, error) {
	box := d.mailbox(r)
	if r.Look || r.Redo {
		where, present, err := d.search(r)
		if err != nil {
			return Receipt{}, err
		}
		if present || r.Redo {
			return d.receipt(where, r.Sync)
		}
	}
	box, err := d.make(box, r)
	if err != nil {
		return Receipt{}, err
	}
	receipt, err := d.receipt(box, r.Sync)
	if err != nil {
		return Receipt{}, err
	}
	unique := maildir.Unique(r.ID, r.Index, d.Host)
	box.Wanted, box.Again = d.Wanted, r.Look
	put := func(box maildir.Mailbox) error { return box.Deliver(unique, newSource(r), receipt.Synced) }
	err = d.within(box, r, put)
	var uncounted *countError
	switch {
	case errors.As(err, &uncounted): // whatever was in the way of that, it is not the message
	case errors.Is(err, fs.ErrExist):
		_, err = d.repair(box, r)
	case errors.Is(err, maildir.ErrUnsynced):
		// A reader may have it by now, so it is not for another try: the next checkpoint's sync has to do.
		receipt.Synced, err = false, nil
	}
	return receipt, err
}

// make makes what is missing of the mailbox, and the folder where that is wanted.
func (d Deliverer) make(box maildir.Mailbox, r Request) (maildir.Mailbox, error) {
	if !box.Exists() {
		if err := d.begin(box, r); err != nil {
			return box, err
		}
	}
	path, err := maildir.FolderPath(r.Mailbox, r.Folder)
	if err != nil || !r.MakeFolder || path == box.Path {
		return box, nil // a name that no folder can have is that of one which does not exist
	}
	folder := maildir.Mailbox{FS: d.FS, Path: path}
	return folder, folder.MakeFolder()
}

// Repair looks for the file that an earlier run may have delivered: present says that it is there and whole, completed
// where a crash had cut it short.
func (d Deliverer) Repair(ctx context.Context, r Request) (present bool, receipt Receipt, err error) {
	if err := ctx.Err(); err != nil {
		return false, Receipt{}, err
	}
	box, present, err := d.search(r)
	if err != nil || !present {
		return false, Receipt{}, err
	}
	receipt, err = d.receipt(box, r.Sync)
	return err == nil, receipt, err
}

// trash is the folder that no quota counts.
const trash = "Trash"

// mailbox is the folder where it exists, else the inbox. What stands behind the delimiter is the sender's to choose: a name
// that no folder can have is that of one which does not exist, and what nobody counts is not for him to fill.
func (d Deliverer) mailbox(r Request) maildir.Mailbox {
	inbox := maildir.Mailbox{FS: d.FS, Path: r.Mailbox}
	if r.Folder == "" || r.Folder == trash && !r.MakeFolder {
		return inbox
	}
	path, err := maildir.FolderPath(r.Mailbox, r.Folder)
	if folder := (maildir.Mailbox{FS: d.FS, Path: path}); err == nil && folder.Exists() {
		return folder
	}
	return inbox
}

// search repairs the delivery's own file, be it in the folder or in the inbox: the folder may be younger than the
// delivery.
func (d Deliverer) search(r Request) (box maildir.Mailbox, present bool, err error) {
	box = d.mailbox(r)
	if present, err = d.repair(box, r); err != nil || present || box.Path == r.Mailbox {
		return box, present, err
	}
	inbox := maildir.Mailbox{FS: d.FS, Path: r.Mailbox}
	if present, err = d.repair(inbox, r); present {
		box = inbox
	}
	return box, present, err
}

// repair finds the delivery's own file in a box and makes sure of its content.
func (d Deliverer) repair(box maildir.Mailbox, r Request) (present bool, err error) {
	unique := maildir.Unique(r.ID, r.Index, d.Host)
	path, err := box.Find(unique)
	if err != nil || path == "" {
		return false, err
	}
	src := newSource(r)
	whole := false
	if !r.Redo {
		if whole, err = d.same(path, src); errors.Is(err, fs.ErrNotExist) {
			return d.repairMoved(box, unique, src, r.Sync)
		} else if err != nil {
			return false, err
		}
	}
	if !whole {
		return true, box.Replace(path, unique, src)
	}
	return true, d.makeLast(box, path, r.Sync)
}

// repairMoved deals with a file that a reader moved or removed while it was looked at.
func (d Deliverer) repairMoved(box maildir.Mailbox, unique string, src source, sync bool) (bool, error) {
	path, err := box.Find(unique)
	if err != nil || path == "" {
		return path == "" && err == nil, err // a reader has removed it: it was delivered
	}
	whole, err := d.same(path, src)
	if err != nil {
		return false, err
	}
	if !whole {
		return true, box.Replace(path, unique, src)
	}
	return true, d.makeLast(box, path, sync)
}

// makeLast syncs a file that an earlier run delivered, where nobody else will.
func (d Deliverer) makeLast(box maildir.Mailbox, path string, sync bool) error {
	receipt, err := d.receipt(box, sync)
	if err != nil || !receipt.Synced {
		return err
	}
	return box.Sync(path)
}

// same compares a file with what it should hold.
func (d Deliverer) same(path string, src source) (bool, error) {
	f, err := d.FS.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	c := &compare{f: f}
	n, err := src.WriteTo(c)
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size, err := f.Size()
	return size == n, err
}

var errDiffers = errors.New("differs")

// compare is a writer that checks that a file holds what is written.
type compare struct {
	f   durable.File
	off int64
	buf []byte
}

func (c *compare) Write(p []byte) (int, error) {
	if cap(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	b := c.buf[:len(p)]
	n, err := c.f.ReadAt(b, c.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n < len(p) || !bytes.Equal(b, p) {
		return 0, errDiffers
	}
	c.off += int64(n)
	return n, nil
}

// receipt says who makes a delivery last.
func (d Deliverer) receipt(box maildir.Mailbox, sync bool) (Receipt, error) {
	dev, local, err := d.FS.Device(box.Path)
	if err != nil {
		return Receipt{}, err
	}
	synced := sync || d.Sync == SyncEach || d.Sync == SyncAuto && !local
	return Receipt{Synced: synced, Dev: dev, Dir: box.Path}, nil
}

// outcome is a deferral: whatever is wrong here, the postmaster can mend it.
func outcome(err error) mta.Outcome {
	o := mta.Outcome{Status: mta.Deferred, Code: 451, Enhanced: "4.2.0", Text: "the mailbox cannot be written to at the moment", Cause: err}
	switch {
	case errors.Is(err, syscall.EDQUOT): // the file system's quota of who owns the mailbox
		o.Code, o.Enhanced, o.Text = 452, "4.2.2", FullText
	case errors.Is(err, syscall.ENOSPC):
		o.Code, o.Enhanced, o.Text = 452, "4.3.1", "no space left for the mailbox at the moment"
	}
	return o
}
