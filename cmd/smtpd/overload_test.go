package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestNoMessageIsTakenWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		status  string // "" = no file
		max     int
		reserve uint64
		want    string // in the error, "" = there is room
	}{
		{"full", `{"at":"2026-11-28T11:59:50Z","messages":11,"oldest":"2026-11-27T12:00:00Z"}`, 10, 0, "11 messages, smtpd.max_queue allows 10"},
		{"just not full", `{"at":"2026-11-28T11:59:50Z","messages":10}`, 10, 0, ""},
		{"no bound", `{"at":"2026-11-28T11:59:50Z","messages":11}`, 0, 0, ""},
		{"old", `{"at":"2026-11-28T11:58:50Z","messages":11}`, 10, 0, ""},
		{"from the future", `{"at":"2026-11-28T12:02:00Z","messages":11}`, 10, 0, ""},
		{"a newer version's", `{"at":"2026-11-28T12:00:00Z","messages":11,"mailboxes":["x"]}`, 10, 0, "11 messages"},
		{"nonsense", "messages 11", 10, 0, ""},
		{"none", "", 10, 0, ""},
		{"no disk", "", 10, 1 << 62, "smtpd.reserve_disk wants"},
	} {
		path := filepath.Join(dir, c.name)
		if c.status != "" {
			if err := os.WriteFile(path, []byte(c.status), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := &room{spool: dir, reserve: c.reserve, status: path, maxQueue: c.max, now: func() time.Time { return now }}
		for range 2 {
			err := r.check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			}
		}
	}
}

func TestAMailboxIsFullWhereQueueRunnerSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r := &room{status: path, now: func() time.Time { return now }}
	alice, bob := mta.Address{Local: "alice", Domain: "here.test"}, mta.Address{Local: "bob", Domain: "here.test"}
	if r.full(bob, 100) {
		t.Error("without a status bob is full")
	}
	status := `{"at":"2026-11-28T12:00:01Z","messages":1,"room":{"alice@here.test":0,"bob@here.test":99}}`
	if err := os.WriteFile(path, []byte(status), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	for _, c := range []struct {
		who    mta.Address
		octets int64
		want   bool
	}{{alice, 0, true}, {bob, 0, false}, {bob, 99, false}, {bob, 100, true}, {mta.Address{Local: "carol", Domain: "here.test"}, 1 << 40, false}} {
		if got := r.full(c.who, c.octets); got != c.want {
			t.Errorf("%s, %d octets: got %v, want %v", c.who, c.octets, got, c.want)
		}
	}
	now = now.Add(2 * time.Minute)
	if r.full(alice, 0) {
		t.Error("an old status is believed")
	}
}

func TestTheStatusIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r := &room{spool: t.TempDir(), status: path, maxQueue: 10, now: func() time.Time { return now }}
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"at":"2026-11-28T12:00:00Z","messages":11}`), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if err := r.check(); err == nil {
		t.Error("a second later the queue is not full")
	}
	now = now.Add(61 * time.Second)
	if err := r.check(); err != nil {
		t.Errorf("without news for a minute: got %v", err)
	}
}
