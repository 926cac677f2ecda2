package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// idle is a schedule that has looked at nothing yet.
type idle struct{ bare }

func (idle) States(_ context.Context, ms []*spool.Message) ([]State, error) {
	return make([]State, len(ms)), nil
}

// filled is a spool with messages to 1, 2, 3 ... recipients in turn, up to most, all of them deferred.
func filled(tb testing.TB, n, most int) *spool.Store {
	tb.Helper()
	root := filepath.Join(tb.TempDir(), "spool")
	boot, err := spool.BootID()
	if err = errors.Join(err, spool.MakeDirs(durable.OS{}, root)); err != nil {
		tb.Fatal(err)
	}
	w := spool.OpenWriter(durable.OS{}, root, spool.WriterOptions{Boot: boot, Notify: func() {}})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			in := w.Begin()
			e := &mta.Envelope{Role: mta.RoleMX}
			for j := range i%most + 1 {
				e.Rcpts = append(e.Rcpts, mta.Recipient{Address: mta.Address{Local: fmt.Sprintf("recipient-%d", j), Domain: "far.test"}})
			}
			_, err := io.WriteString(in, "Subject: x\r\n\r\n"+strings.Repeat("x\r\n", i))
			if err := errors.Join(err, in.Commit(e)); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
	w.Close()
	s, err := spool.Open(spool.Options{FS: durable.OS{}, Root: root, Boot: boot, Log: maillog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	for _, m := range s.Outstanding() {
		if err := s.Spill(m); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// The messages come in the order of their ids, each with what is in its own envelope, however many are read at once.
func TestListsAreInOrderAndWhole(t *testing.T) {
	const n, most = 2*batch + 7, 150 // the envelopes of many recipients are longer than what is read of a file at first
	store := filled(t, n, most)
	c := serve(t, NewServer(store, idle{}))
	var ids []mta.ID
	rcpts := map[int]int{}
	err := c.List(t.Context(), Filter{}, func(m *Message) error {
		ids = append(ids, m.ID)
		rcpts[len(m.Rcpts)]++
		if want := int(m.Size-int64(len("Subject: x\r\n\r\n"))) / 3 % most; m.Error != "" || len(m.Rcpts) != want+1 || m.Rcpts[want].Address != fmt.Sprintf("recipient-%d@far.test", want) {
			t.Errorf("%s of %d octets: got %d recipients, %s; want %d", m.ID, m.Size, len(m.Rcpts), m.Error, want+1)
		}
		return nil
	})
	if err != nil || len(ids) != n || !slices.IsSorted(ids) || len(rcpts) != most {
		t.Errorf("got %d messages, sorted %v, of %d kinds, %v; want %d in order", len(ids), slices.IsSorted(ids), len(rcpts), err, n)
	}
}

// watched is a spool that counts how many messages were read.
type watched struct {
	Spool
	views atomic.Int64
}

func (c *watched) View(m *spool.Message) (*spool.View, error) {
	c.views.Add(1)
	return c.Spool.View(m)
}

// However long the queue is, and each message's recipients, few of them are held for who asks, and may read slowly.
func TestAListHoldsFewMessages(t *testing.T) {
	const n = 3*ahead + 5
	store := &watched{Spool: filled(t, n, 1)}
	got := 0
	err := NewServer(store, idle{}).list(t.Context(), Filter{}, func(*Message) error {
		got++
		if views := int(store.views.Load()); views >= got+ahead {
			t.Errorf("message %d: %d are read, want less than %d more", got, views, ahead)
		}
		return nil
	})
	if err != nil || got != n {
		t.Errorf("got %d messages, %v; want %d", got, err, n)
	}
}

// An operation is a list of 2000 deferred messages, read from files and asked for over the socket.
func BenchmarkList(b *testing.B) {
	const n = 2000
	store := filled(b, n, 1)
	c := serve(b, NewServer(store, idle{}))
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		if err := c.List(b.Context(), Filter{}, func(*Message) error { got++; return nil }); err != nil || got != n {
			b.Fatalf("got %d, %v", got, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/message")
}
