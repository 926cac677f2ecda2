package host

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes the file that a filter has written the body of the message. It is the filter's file no longer: what it holds
// is copied, with CR LF line ends, behind the content's header.
func (d *draft) adopt(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("new body: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("new body: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !st.Mode().IsRegular() || sys.Nlink != 1 || int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("new body: %s is not a regular file with one name", path)
	case st.Size() > d.limit:
		return errNoRoom
	}
	old, err := d.base.open()
	if err != nil {
		return err
	}
	defer old.Close()
	name := d.newName()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	w := &lineEnds{w: bufio.NewWriterSize(out, 64<<10), left: d.limit}
	if err := w.put(io.NewSectionReader(old, 0, d.header.size), f); err != nil {
		return fmt.Errorf("new body: %w", err)
	}
	if w.added > 0 { // the last field has a line end now
		if n := len(d.header.fields) - 1; n >= 0 && d.header.fields[n].text == "" {
			d.header.fields[n].size += w.added
		}
		d.header.size += w.added
	}
	d.base, d.replaced, d.eight = base{path: name, size: w.size}, true, d.eight || w.eight
	return nil
}

// lineEnds writes a content with CR LF line ends, whatever they were.
type lineEnds struct {
	w     *bufio.Writer
	size  int64
	left  int64
	eight bool
	cr    bool  // the last octet was CR, and is not written yet
	added int64 // octets of a line end that the header lacked
}

type lastOctet struct{ c byte }

func (l *lastOctet) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.c = p[len(p)-1]
	}
	return len(p), nil
}

// put writes a header as it is, the empty line, and a body.
func (l *lineEnds) put(header, body io.Reader) error {
	last := &lastOctet{}
	n, err := io.Copy(io.MultiWriter(l.w, last), header)
	if err != nil {
		return err
	}
	l.size, l.left = n, l.left-n
	if n > 0 && last.c != '\n' {
		l.added = 2
		if err := l.octets('\r', '\n'); err != nil {
			return err
		}
	}
	if err := l.octets('\r', '\n'); err != nil {
		return err
	}
	r := bufio.NewReaderSize(body, 64<<10)
	for {
		c, err := r.ReadByte()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = l.octet(c)
		}
		if err != nil {
			return err
		}
	}
	if l.cr {
		if err := l.octets('\r', '\n'); err != nil {
			return err
		}
	}
	return l.w.Flush()
}

func (l *lineEnds) octet(c byte) error {
	was := l.cr
	l.cr = c == '\r'
	l.eight = l.eight || c >= 0x80
	switch {
	case c == '\n':
		return l.octets('\r', '\n')
	case was:
		if err := l.octets('\r', '\n'); err != nil {
			return err
		}
	}
	if l.cr {
		return nil
	}
	return l.octets(c)
}

func (l *lineEnds) octets(b ...byte) error {
	if l.left -= int64(len(b)); l.left < 0 {
		return errNoRoom
	}
	l.size += int64(len(b))
	for _, c := range b {
		if err := l.w.WriteByte(c); err != nil {
			return err
		}
	}
	return nil
}
