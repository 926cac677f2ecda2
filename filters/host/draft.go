package host

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// maxPrepend bounds what stands in front of a content in its envelope; a header that needs more makes a new content. So does
// one with octets that are not UTF-8: an envelope is JSON.
const maxPrepend = 64 << 10

// draft is a message while filters edit it. What they change is in it alone until finish.
type draft struct {
	id     mta.ID
	dir    string // for files
	limit  int64  // of a content
	files  *files
	sender mta.Address
	rcpts  []mta.Recipient
	utf8   bool // addresses may be beyond ASCII
	eight  bool // a replaced body is

	header   *header
	base     base
	replaced bool // base is not the content that came in
}

// base is the content: in memory, in a file, or both.
type base struct {
	mem  []byte
	path string
	size int64
}

// files are those that a draft has made, and that go with it.
type files struct{ names []string }

func (f *files) remove() {
	for _, n := range f.names {
		_ = os.Remove(n) // what is left is swept at the next start
	}
}

func newDraft(o *Options, env *mta.Envelope, mem []byte, path string) (*draft, error) {
	d := &draft{
		id: env.ID, dir: filepath.Join(o.Run, "filters"), limit: o.MaxMessageSize, files: &files{}, sender: env.Sender, rcpts: slices.Clone(env.Rcpts),
		utf8: env.SMTPUTF8, base: base{mem, path, env.Size},
	}
	r, err := d.base.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d.header, err = readHeader(env.Prepend, r, d.base.size)
	return d, err
}

// clone is a draft that can be thrown away.
func (d *draft) clone() *draft {
	c := *d
	c.rcpts, c.header = slices.Clone(d.rcpts), d.header.clone()
	return &c
}

type readAtCloser interface {
	io.ReaderAt
	io.Closer
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

func (b base) open() (readAtCloser, error) {
	if b.path == "" || b.mem != nil {
		return inMemory{bytes.NewReader(b.mem)}, nil
	}
	return os.Open(b.path)
}

// content is the message as a filter gets it. With path there is a file with it.
func (d *draft) content(path bool) (*proto.Content, error) {
	if path && d.base.path == "" {
		name := d.newName()
		if err := os.WriteFile(name, d.base.mem, 0o600); err != nil {
			return nil, err
		}
		d.base.path = name
	}
	r, err := d.base.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	prepend, cuts, err := d.header.render(r)
	if err != nil {
		return nil, err
	}
	c := &proto.Content{Id: string(d.id), Size: d.base.size, HeaderSize: d.header.size, Prepend: []byte(prepend)}
	if path {
		c.Path = d.base.path
	}
	for _, cut := range cuts {
		c.Cuts = append(c.Cuts, &proto.Range{Offset: cut.Off, Length: cut.Len})
	}
	return c, nil
}

// newName is a path that goes with the draft.
func (d *draft) newName() string {
	name := filepath.Join(d.dir, string(d.id)+"."+strconv.Itoa(len(d.files.names)))
	d.files.names = append(d.files.names, name)
	return name
}

// finish writes the draft into the envelope. Where the content is another it is returned, to be read and closed.
func (d *draft) finish(env *mta.Envelope) (io.ReadCloser, error) {
	r, err := d.base.open()
	if err != nil {
		return nil, err
	}
	prepend, cuts, err := d.header.render(r)
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	env.Sender, env.Rcpts = d.sender, d.rcpts
	if d.eight {
		env.Body = mta.Body8BitMIME
	}
	if len(prepend) > maxPrepend || prepend != utf8(prepend) {
		env.Prepend, env.Cut = "", nil
		return replaced{message.NewReader(prepend, cuts, r, d.base.size), r}, nil
	}
	env.Prepend, env.Cut = prepend, cuts
	if d.replaced {
		return replaced{io.NewSectionReader(r, 0, d.base.size), r}, nil
	}
	return nil, r.Close()
}

type replaced struct {
	io.Reader
	io.Closer
}

var errNoRoom = errors.New("the new body is too large")
