package runner_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// real gives a world real Maildirs.
func (w *world) real(sync string) {
	d := local.Deliverer{FS: w.fs, Host: w.set.Hostname, Sync: sync}
	w.set.Local, w.set.Search = d, d
	w.set.Mailbox = func(a mta.Address) (string, error) {
		return maildir.Path(filepath.Join(w.root, "mail", "{domain}", "{local}"), a)
	}
}

// maildir returns the messages in a user's new/.
func (w *world) maildir(user string) (out []string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.root, "mail", "here.test", user, "new", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// left are the files of the spool's folders.
func (w *world) left() (out []string) {
	for _, d := range []string{"incoming/*", "deferred/*/*", "large/*", "journal/*"} {
		files, err := filepath.Glob(filepath.Join(w.root, d))
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, files...)
	}
	return out
}

func TestMessagesReachTheirMaildirsAndTheSpoolIsEmptyAfterwards(t *testing.T) {
	for _, sync := range []string{local.SyncBatched, local.SyncEach} {
		t.Run(sync, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.real(sync)
				w.router.aliases["list@here.test"] = []string{"bob@here.test", "carol@here.test"}
				n := 0
				w.remote.do = func(ctx context.Context, t runner.Transaction) []mta.Outcome {
					if n++; n == 1 {
						return busy(ctx, t)
					}
					return refuse(ctx, t)
				}
				w.begin()
				id := w.send("alice@here.test", "bob@here.test", "list@here.test", "dora@far.test")
				w.until("finished", time.Hour, w.idle)
				w.writer.Close()
				w.until("empty", time.Minute, func() bool { return len(w.left()) <= 1 })
				w.close()
				bob := w.maildir("bob")
				want := "Return-Path: <alice@here.test>\nDelivered-To: bob@here.test\nSubject: test\n\nbody of " + string(id) + "\n"
				if len(bob) != 2 || bob[0] != want || bob[1] != want {
					t.Errorf("bob got %q, want twice %q", bob, want)
				}
				if got := w.maildir("carol"); len(got) != 1 {
					t.Errorf("carol got %d messages", len(got))
				}
				if got := w.maildir("alice"); len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <>\nDelivered-To: alice@here.test\n") {
					t.Errorf("alice got %q, want one report", got)
				}
			})
		})
	}
}

func TestMessageThatACrashLeftInItsMaildirIsNotDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.real(local.SyncBatched)
		id := w.send("alice@here.test", "bob@here.test", "carol@here.test")

		// An earlier run got this far: bob has the message, half of carol's is there, and nothing was written down.
		store, err := spool.Open(spool.Options{FS: w.fs, Root: w.root, Boot: boot})
		if err != nil {
			t.Fatal(err)
		}
		m := store.Outstanding()[0]
		l, err := store.Load(m)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range l.Rcpts {
			path, err := w.set.Mailbox(r.Address)
			if err != nil {
				t.Fatal(err)
			}
			o, _ := w.set.Local.Deliver(t.Context(), local.Request{
				Mailbox: path, ID: m.ID(), Index: i, ReturnPath: l.Envelope.Sender, DeliveredTo: r.Address, Envelope: l.Envelope, Content: l.Content,
			})
			if o.Status != mta.Delivered {
				t.Fatal(o)
			}
		}
		l.Close()
		store.Close()
		half, err := filepath.Glob(filepath.Join(w.root, "mail/here.test/carol/new/*"))
		if err != nil || len(half) != 1 {
			t.Fatal(half, err)
		}
		if err := os.Truncate(half[0], 20); err != nil {
			t.Fatal(err)
		}
		cur := filepath.Join(w.root, "mail/here.test/bob/cur")
		inNew, err := filepath.Glob(filepath.Join(w.root, "mail/here.test/bob/new/*"))
		if err != nil || len(inNew) != 1 {
			t.Fatal(inNew, err)
		}
		if err := os.Rename(inNew[0], filepath.Join(cur, filepath.Base(inNew[0])+":2,S")); err != nil { // a reader came
			t.Fatal(err)
		}

		w.begin()
		defer w.close()
		select {
		case <-w.ready:
		case <-time.After(time.Minute):
			t.Fatal("not ready")
		}
		if got := w.maildir("carol"); len(got) != 1 || !strings.Contains(got[0], "body of "+string(id)) {
			t.Errorf("carol has %q when the runner is ready, want the whole message once", got)
		}
		w.until("finished", time.Minute, w.idle)
		if got := w.maildir("bob"); len(got) != 0 {
			t.Errorf("bob got the message again: %q", got)
		}
	})
}

func TestLargeMessageIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.real(local.SyncAuto)
		w.begin()
		body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 40000)
		in := w.writer.Begin()
		if _, err := in.Write([]byte("A: b\r\n\r\n" + body)); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(&mta.Envelope{Rcpts: []mta.Recipient{{Address: address("bob@here.test")}, {Address: address("x@far.test")}}}); err != nil {
			t.Fatal(err)
		}
		w.until("finished", time.Minute, w.idle)
		w.writer.Close()
		w.until("empty", time.Minute, func() bool { return len(w.left()) <= 1 })
		w.close()
		got := w.maildir("bob")
		if len(got) != 1 || !strings.HasSuffix(got[0], "A: b\n\n"+strings.ReplaceAll(body, "\r\n", "\n")) {
			t.Errorf("bob got %d messages, or another body", len(got))
		}
	})
}

var _ durable.FS = quickFS{}
