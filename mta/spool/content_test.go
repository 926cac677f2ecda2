package spool

import (
	"bytes"
	"testing"
)

func TestAContentCanBeReadBackAndReplacedBeforeCommit(t *testing.T) {
	for _, size := range []int{0, 100, 3*LargeSize + 17} {
		for _, next := range []int{0, 100, 2*LargeSize + 5} {
			m := newMachine(t)
			in := m.writer().Begin()
			write := func(b []byte) {
				t.Helper()
				for len(b) > 0 {
					n := min(len(b), 50_000)
					if _, err := in.Write(b[:n]); err != nil {
						t.Fatal(err)
					}
					b = b[n:]
				}
			}
			shows := func(want []byte) {
				t.Helper()
				mem, path, err := in.Content()
				if err != nil {
					t.Fatal(err)
				}
				if path != "" {
					mem = []byte(m.octets("tmp/" + string(in.ID())))
				}
				if !bytes.Equal(mem, want) || (path != "") != (len(want) > LargeSize) {
					t.Fatalf("got %d octets in %q, want %d", len(mem), path, len(want))
				}
			}
			first, second := bytes.Repeat([]byte("a"), size), bytes.Repeat([]byte("b"), next)
			write(first)
			shows(first)
			in.Restart()
			if n := len(m.list("tmp")); n != 0 {
				t.Errorf("%d files in tmp/ after Restart", n)
			}
			write(second)
			shows(second)
			if err := in.Commit(anEnvelope()); err != nil {
				t.Fatal(err)
			}
			rec, err := parseMessage([]byte(firstMessage(t, m)))
			if err != nil || rec.size != int64(next) {
				t.Fatalf("got the record %+v, %v; want %d octets", rec, err, next)
			}
			in.Restart()
			in.Abort()
			if large := m.list("large"); len(large) != 0 != (next > LargeSize) {
				t.Errorf("large: got %v", large)
			}
		}
	}
}
