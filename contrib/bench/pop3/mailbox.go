package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// message is a text of the wanted size, with LF line ends.
func message(n, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <someone@example.net>\nReceived: from a by b; Sat, 28 Nov 2026 00:00:00 +0000\nFrom: Someone <someone@example.net>\nTo: bench@bench.test\nSubject: message %d\nMessage-ID: <%d@example.net>\n\n", n, n)
	for b.Len() < size {
		fmt.Fprintf(&b, "This is line %6d of a message, as long as most lines of a letter are.\n", b.Len())
	}
	b.Truncate(size - 1)
	return append(b.Bytes(), '\n')
}

// makeMailbox fills new/ of a Maildir, as a delivery agent does that is neither's.
func makeMailbox(dir string, messages, size int, sized bool, uid int) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	for i := range messages {
		m := message(i, size)
		name := fmt.Sprintf("%d.M%dP7.bench", 1700000000+i, i)
		if sized {
			name += fmt.Sprintf(",S=%d,W=%d", len(m), len(m)+bytes.Count(m, []byte("\n")))
		}
		if err := os.WriteFile(filepath.Join(dir, "new", name), m, 0o600); err != nil {
			return err
		}
	}
	return filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
}
