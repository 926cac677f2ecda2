// Package daemon is what the bundled filters share that ask another daemon about each message: where it is, how long it may
// take, and up to what size it is asked.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
)

// Bounds of the settings.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 10 * time.Minute
	maxMaxSize = 4 << 30 // what a clamd can count
)

// Settings are the keys that each of these filters has, to be embedded in its own with the defaults set.
type Settings struct {
	Address string `toml:"address"`  // "HOST:PORT" or "unix:/PATH"
	Timeout string `toml:"timeout"`  // for connection, question and answer together
	MaxSize string `toml:"max_size"` // of messages that it is asked about

	network, address string
	timeout          time.Duration
	maxSize          int64
}

// Check reads the values; s has their lines.
func (d *Settings) Check(s filters.Settings) error {
	if path, ok := strings.CutPrefix(d.Address, "unix:"); ok {
		d.network, d.address = "unix", path
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return s.Fault("address", fmt.Sprintf("address = %q; allowed: \"HOST:PORT\" or \"unix:/PATH\"", d.Address))
		}
	} else {
		host, port, err := net.SplitHostPort(d.Address)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
			return s.Fault("address", fmt.Sprintf("address = %q; allowed: \"HOST:PORT\" or \"unix:/PATH\"", d.Address))
		}
		d.network, d.address = "tcp", d.Address
	}
	var err error
	if d.timeout, err = time.ParseDuration(d.Timeout); err != nil || d.timeout < minTimeout || d.timeout > maxTimeout {
		return s.Fault("timeout", fmt.Sprintf("timeout = %q; allowed: \"100ms\" to \"10m\"", d.Timeout))
	}
	if d.maxSize, err = size(d.MaxSize); err != nil || d.maxSize < 1 || d.maxSize > maxMaxSize {
		return s.Fault("max_size", fmt.Sprintf("max_size = %q; allowed: \"1\" to \"4GB\", as in \"500KB\", \"25MB\"", d.MaxSize))
	}
	return nil
}

// TooLarge says whether the daemon is not asked about a message.
func (d *Settings) TooLarge(m *filters.Message) bool { return m.Size() > d.maxSize }

// Bounded gives a context that ends with the time that the settings have.
func (d *Settings) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.timeout)
}

// Dial connects. The connection fails when ctx, which Bounded has made, ends: no read and no write goes on then. It has to be
// closed.
func (d *Settings) Dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &conn{c, stop}, nil
}

// Open opens the message. Where reading it fails Fault knows that the daemon has no part in that.
func Open(m *filters.Message) (io.ReadCloser, error) {
	r, err := m.Open()
	if err != nil {
		return nil, &ReadError{err}
	}
	return &content{r}, nil
}

// ReadError is that of a message which cannot be read.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "reading the message: " + e.Err.Error() }

// Unwrap gives the reason.
func (e *ReadError) Unwrap() error { return e.Err }

type content struct{ io.ReadCloser }

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &ReadError{err}
	}
	return n, err
}

// Fault says of an error what the operator needs: who did not answer, and whether it took too long.
func (d *Settings) Fault(ctx context.Context, err error) error {
	var local *ReadError
	if errors.As(err, &local) {
		return local
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s has not answered within %s", d.Address, d.Timeout)
	}
	return fmt.Errorf("%s: %w", d.Address, err)
}

type conn struct {
	net.Conn
	stop func() bool
}

func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// CloseWrite says that no more will come, and lets the answer come all the same.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// size is a number of octets, with KB, MB or GB behind it.
func size(text string) (int64, error) {
	unit := int64(1)
	for i, name := range []string{"KB", "MB", "GB"} {
		if number, ok := strings.CutSuffix(text, name); ok {
			text, unit = number, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n > maxMaxSize {
		return 0, errors.New("no size")
	}
	return n * unit, nil
}

// OneLine is text that a daemon has said, fit for a reply and for the log: printable ASCII, 200 octets at most.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text[:min(len(text), 200)])
	return strings.TrimSpace(text)
}
