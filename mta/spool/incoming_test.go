package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

func TestAContentIsKeptOctetByOctetWhateverTheWrites(t *testing.T) {
	for _, size := range []int{0, 1, LargeSize - 1, LargeSize, LargeSize + 1, 3*LargeSize + 17} {
		for _, piece := range []int{1000, 64 << 10, LargeSize + 5, 4 * LargeSize} {
			t.Run(fmt.Sprintf("%d octets by %d", size, piece), func(t *testing.T) {
				m := newMachine(t)
				w := m.writer()
				content := bytes.Repeat([]byte("\x00\xff\r\n. \x80abc"), size/9+1)[:size]
				in := w.Begin()
				for rest := content; len(rest) > 0; {
					n := min(piece, len(rest))
					if got, err := in.Write(rest[:n]); err != nil || got != n {
						t.Fatalf("Write: got %d, %v", got, err)
					}
					rest = rest[n:]
				}
				env := anEnvelope()
				if err := in.Commit(env); err != nil {
					t.Fatal(err)
				}
				if env.ID != in.ID() || env.Size != int64(size) || env.V != 1 || !env.Arrived.Equal(m.now) || in.Size() != int64(size) {
					t.Errorf("got the envelope %+v", env)
				}
				large := m.list("large")
				if size <= LargeSize && len(large) != 0 || size > LargeSize && len(large) != 1 {
					t.Fatalf("large: got %v", large)
				}
				rec, err := parseMessage([]byte(firstMessage(t, m)))
				if err != nil || rec.size != int64(size) || rec.large != (size > LargeSize) {
					t.Fatalf("got the record %+v, %v", rec, err)
				}
				got := rec.content
				if rec.large {
					got = m.octets("large/" + large[0])
					if rec.sum != crc32.Checksum(content, castagnoli) {
						t.Errorf("got the checksum %x", rec.sum)
					}
				}
				if !bytes.Equal(got, content) {
					t.Errorf("got %d octets, which are not the %d of the content", len(got), size)
				}
			})
		}
	}
}

func firstMessage(t *testing.T, m *machine) string {
	t.Helper()
	got, _ := readAll(t, m.octets("incoming/"+m.list("incoming")[0]), false)
	return got[0].payload
}

func TestALargeContentIsLockedUntilItsSessionIsAnswered(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	in := w.Begin()
	if _, err := io.WriteString(in, strings.Repeat("x", LargeSize+1)); err != nil {
		t.Fatal(err)
	}
	locked := func(path string) bool {
		f, err := m.disk.Process("look").Open(root + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return errors.Is(f.Lock(), durable.ErrLocked)
	}
	if !locked("tmp/" + string(in.ID())) {
		t.Error("while it is received: got no lock")
	}
	seen := false
	m.disk.Hook = func(op simdisk.Op) error {
		seen = seen || op.Name == "rename" && op.Path == root+"/large/"+string(in.ID())
		return nil
	}
	if err := in.Commit(anEnvelope()); err != nil || !seen {
		t.Fatalf("got %v, renamed: %v", err, seen)
	}
	if locked("large/" + string(in.ID())) {
		t.Error("after Commit: got a lock, want it free")
	}
}

func TestAnAbortedMessageLeavesNothing(t *testing.T) {
	for _, size := range []int{10, LargeSize + 1} {
		m := newMachine(t)
		w := m.writer()
		in := w.Begin()
		if _, err := io.WriteString(in, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
		in.Abort()
		in.Abort()
		if err := in.Commit(anEnvelope()); !errors.Is(err, ErrFailed) {
			t.Errorf("Commit after Abort: got %v, want ErrFailed", err)
		}
		for _, dir := range []string{"tmp", "large", "incoming"} {
			if names := m.list(dir); len(names) > 0 {
				t.Errorf("%d octets, %s: got %v, want nothing", size, dir, names)
			}
		}
	}
}

func TestAFailedWriteOfAContentStays(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	in := w.Begin()
	m.disk.Hook = func(op simdisk.Op) error {
		if op.Name == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	if _, err := io.WriteString(in, strings.Repeat("x", LargeSize+1)); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	m.disk.Hook = nil
	if _, err := io.WriteString(in, "more"); !errors.Is(err, ErrFull) {
		t.Errorf("a second Write: got %v, want ErrFull still", err)
	}
	if err := in.Commit(anEnvelope()); !errors.Is(err, ErrFull) {
		t.Errorf("Commit: got %v, want ErrFull still", err)
	}
	if err := in.Commit(anEnvelope()); !errors.Is(err, ErrFailed) {
		t.Errorf("a second Commit: got %v, want ErrFailed", err)
	}
	if names := m.list("tmp"); len(names) > 0 {
		t.Errorf("tmp: got %v, want nothing", names)
	}
}
