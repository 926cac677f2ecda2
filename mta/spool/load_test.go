package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// open starts queue-runner's side of the spool; log collects what it says.
func (m *machine) open(log *bytes.Buffer) *Store {
	m.t.Helper()
	s, err := m.tryOpen(log)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.Close)
	return s
}

func (m *machine) tryOpen(log *bytes.Buffer) (*Store, error) {
	return Open(Options{FS: m.disk.Process("runner"), Root: root, Boot: "boot", Now: m.clock, Log: maillog.New(maillog.NewText(log, slog.LevelDebug))})
}

// change turns one octet of a file of the spool round.
func (m *machine) change(path string, at int64) {
	m.t.Helper()
	m.overwrite(path, at, []byte{m.octets(path)[at] ^ 1})
}

func (m *machine) overwrite(path string, at int64, b []byte) {
	m.t.Helper()
	f, err := m.disk.Process("hand").OpenWrite(root + "/" + path)
	if err == nil {
		_, err = f.WriteAt(b, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// write makes a file of the spool.
func (m *machine) write(path string, b []byte) {
	m.t.Helper()
	f, err := m.disk.Process("hand").Create(root+"/"+path, 0o640)
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func idsOf(msgs []*Message) (ids []mta.ID) {
	for _, m := range msgs {
		ids = append(ids, m.ID())
	}
	return ids
}

func content(t *testing.T, l *Loaded) string {
	t.Helper()
	b := make([]byte, l.Size)
	if _, err := l.Content.ReadAt(b, 0); err != nil && l.Size > 0 {
		t.Fatal(err)
	}
	return string(b)
}

var bodies = map[string]string{"inline": "Subject: x\r\n\r\n.text\r\n", "empty": "", "large": strings.Repeat("large\r\n", LargeSize/3)}

func TestLoadGivesWhatWasAccepted(t *testing.T) {
	for name, body := range bodies {
		m := newMachine(t)
		w := m.writer()
		id := m.put(w, body)
		w.Close()
		s := m.open(&bytes.Buffer{})
		msgs := s.Outstanding()
		if len(msgs) != 1 || msgs[0].ID() != id || !msgs[0].Found() {
			t.Fatalf("%s: got %v, want %s", name, idsOf(msgs), id)
		}
		check := func(where string) {
			l, err := s.Load(msgs[0])
			if err != nil {
				t.Fatalf("%s, %s: %v", name, where, err)
			}
			defer l.Close()
			if got := content(t, l); got != body || l.Envelope.ID != id || len(l.Rcpts) != 1 || l.Rcpts[0].Address.Local != "l" || l.Rcpts[0].State != ToDo {
				t.Errorf("%s, %s: got %d octets, %+v, %+v", name, where, len(got), l.Envelope, l.Rcpts)
			}
		}
		check("in the segment")
		check("a second time")
		if err := s.Spill(msgs[0]); err != nil {
			t.Fatal(err)
		}
		check("spilled")
		for range 3 {
			if _, err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		if names := m.list("incoming"); len(names) > 0 {
			t.Errorf("%s: the segment of a spilled message is left: %v", name, names)
		}
		check("in its own file alone")
	}
}

func TestAMessageThatTheDiskHasChangedIsCorrupt(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		damage func(m *machine, s *Store, x *Message)
		want   error
	}{
		"in its segment": {bodies["inline"], func(m *machine, _ *Store, x *Message) {
			m.change("incoming/"+x.seg.name, x.off+recordHead+messageHead+60)
		}, ErrCorrupt},
		"a large one": {bodies["large"], func(m *machine, _ *Store, x *Message) { m.change("large/"+string(x.id), LargeSize) }, ErrCorrupt},
		"a large one that is longer": {bodies["large"], func(m *machine, _ *Store, x *Message) {
			m.overwrite("large/"+string(x.id), 3, []byte("x"))
		}, ErrCorrupt},
		"a large one that has gone": {bodies["large"], func(m *machine, _ *Store, x *Message) {
			_ = m.disk.Process("hand").Remove(root + "/large/" + string(x.id))
		}, fs.ErrNotExist},
		"a deferred one": {bodies["inline"], func(m *machine, s *Store, x *Message) {
			if err := s.Spill(x); err != nil {
				m.t.Fatal(err)
			}
			m.change("deferred/"+x.id.Shard()+"/"+string(x.id), 3)
		}, ErrCorrupt},
	} {
		m := newMachine(t)
		w := m.writer()
		m.put(w, c.body)
		w.Close()
		s := m.open(&bytes.Buffer{})
		x := s.Outstanding()[0]
		c.damage(m, s, x)
		if l, err := s.Load(x); !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v; want %v", name, l, err, c.want)
		}
	}
}

func TestDamageIsSetAsideAndReadingGoesOn(t *testing.T) {
	for _, running := range []bool{false, true} {
		m := newMachine(t)
		w := m.writer()
		var s *Store
		var log bytes.Buffer
		if running {
			s = m.open(&log)
		}
		a := m.put(w, "first\r\n")
		name := "incoming/" + m.list("incoming")[0]
		before, _ := readAll(t, m.octets(name), false)
		last := before[len(before)-1]
		from := last.off + recordHead + int64(len(last.payload))
		m.put(w, "damaged\r\n")
		c := m.put(w, "third\r\n")
		w.Close()
		m.change(name, from+recordHead+messageHead+10)
		var got []mta.ID
		if running {
			msgs, _, err := s.Poll(100)
			if err != nil {
				t.Fatal(err)
			}
			got = idsOf(msgs)
		} else {
			s = m.open(&log)
			got = idsOf(s.Outstanding())
		}
		if !slices.Equal(got, []mta.ID{a, c}) {
			t.Errorf("running %v: got %v, want %v", running, got, []mta.ID{a, c})
		}
		saved := m.list("corrupt")
		if len(saved) != 1 || !bytes.HasPrefix(m.octets(name)[from:], m.octets("corrupt/"+saved[0])) || !bytes.Contains(m.octets("corrupt/"+saved[0]), []byte("damaged\r\n")) {
			t.Errorf("running %v: corrupt/ has %v, want the damaged octets", running, saved)
		}
		if strings.Count(log.String(), "event=spool-damaged") != 1 {
			t.Errorf("running %v: got the log\n%s, want spool-damaged once", running, &log)
		}
	}
}

func TestWhatANewerVersionWroteIsLeftAlone(t *testing.T) {
	newer := segmentHeader{V: segmentVersion + 1, Boot: "boot", Writer: writerSMTPD, Nonce: 1}
	mixed := newBuilder(someHeader)
	mixed.message(idA, "first\r\n")
	future := []byte(`{"v":2,"id":"` + string(idB) + `"}`)
	mixed.add(kindMessage, messageRecord{envelope: future}.head(), future, []byte("second\r\n"))
	mixed.commit()
	mixed.add(kindClose)
	footer := goodDeferred()
	footer[len(footer)-footerSize+7]++
	for name, c := range map[string]struct {
		path string
		b    []byte
		left int // messages to deliver
	}{
		"segment":  {"incoming/" + string(idC) + ".seg", newBuilder(newer).b, 0},
		"message":  {"incoming/" + string(idC) + ".seg", mixed.b, 1},
		"footer":   {"deferred/AA/" + string(idA), footer, 0},
		"envelope": {"deferred/AA/" + string(idA), encodeDeferred([]byte(`{"v":2,"id":"`+string(idA)+`"}`), smallRecord()), 0},
	} {
		m := newMachine(t)
		if err := m.disk.Process("hand").Mkdir(root+"/deferred/AA", 0o700); err != nil {
			t.Fatal(err)
		}
		m.write(c.path, c.b)
		m.write("large/"+string(idB), []byte("of who knows whom"))
		var log bytes.Buffer
		s := m.open(&log)
		for _, x := range s.Outstanding() {
			s.Record(x, 0, Result{Outcome: mta.Outcome{Status: mta.Delivered}})
		}
		if got := len(s.msgs); name == "message" && len(s.Outstanding()) != c.left {
			t.Errorf("%s: got %d messages", name, got)
		}
		for range 4 {
			m.now = m.now.Add(sweepEvery)
			if _, _, err := s.Poll(10); err != nil {
				t.Error(err)
			}
			if _, err := s.Checkpoint(); err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(m.octets(c.path), c.b) || len(m.list("corrupt")) > 0 {
			t.Errorf("%s: got it changed, or corrupt/ %v", name, m.list("corrupt"))
		}
		if !strings.Contains(log.String(), "event=spool-skipped") {
			t.Errorf("%s: got the log\n%s, want spool-skipped", name, &log)
		}
		if name == "segment" && len(m.list("large")) != 1 {
			t.Errorf("%s: a large file, which it may name, was removed", name)
		}
	}
}

func TestANewerJournalKeepsQueueRunnerFromStarting(t *testing.T) {
	m := newMachine(t)
	newer := segmentHeader{V: segmentVersion + 1, Boot: "boot", Writer: writerJournal, Nonce: 1}
	m.write("journal/"+string(idA)+".seg", newBuilder(newer).b)
	if _, err := m.tryOpen(&bytes.Buffer{}); !errors.Is(err, mta.ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
	if names := m.list("journal"); len(names) != 1 {
		t.Errorf("got %v, want it left alone", names)
	}
}

// A program that would misread what a later one has written does not begin, and says why.
func TestTheLockSaysWhichVersionMayHaveTheSpool(t *testing.T) {
	for text, refused := range map[string]bool{"": false, "\n": false, "1": false, "1\n": false, "1\nmore\n": false,
		"2\n": true, "2": true, "99999999999999999999\n": true, "x\n": true, "1 and more\n": true, strings.Repeat("1", 1000): true, "\x00\x00\n": true} {
		m := newMachine(t)
		m.write("lock", []byte(text))
		before := fmt.Sprint(m.list("incoming"), m.list("journal"), m.list("tmp"))
		s, err := m.tryOpen(&bytes.Buffer{})
		if refused != errors.Is(err, mta.ErrNewer) || !refused && err != nil {
			t.Errorf("%.20q: got %v, want it refused: %v", text, err, refused)
		}
		if r := m.check(); refused == (len(r.Problems) == 0) {
			t.Errorf("%.20q: check says %q", text, r.Problems)
		}
		if err == nil {
			s.Close()
		} else if after := fmt.Sprint(m.list("incoming"), m.list("journal"), m.list("tmp")); after != before {
			t.Errorf("%.20q: refused, and got %s, want %s", text, after, before)
		}
		if got := string(m.octets("lock")); got != text {
			t.Errorf("%.20q: the lock is %.20q then", text, got)
		}
	}
}

// What a later version put into an envelope, at any depth, is there for it after this one has deferred the message.
func TestFieldsOfALaterVersionSurviveADeferral(t *testing.T) {
	m := newMachine(t)
	b := newBuilder(someHeader)
	text := "first\r\n"
	env := []byte(`{"v":1,"id":"` + string(idA) + `","arrived":"2026-01-02T03:04:05Z","role":"mx","sender":"a@far.test","later":[1],` +
		`"rcpts":[{"address":"b@here.test","later":{"x":1}}],"origin":{"later":"y"},"size":7}`)
	b.add(kindMessage, messageRecord{envelope: env, size: 7}.head(), env, []byte(text))
	b.commit()
	m.write("incoming/"+string(idC)+".seg", b.b)
	s := m.open(&bytes.Buffer{})
	fresh, _, err := s.Poll(10)
	if err != nil || len(fresh)+len(s.Outstanding()) == 0 {
		t.Fatalf("got %v, %v, want the message", fresh, err)
	}
	x := s.Outstanding()[0]
	s.Record(x, 0, Result{Outcome: mta.Outcome{Status: mta.Deferred, Code: 451}, Next: m.now.Add(time.Hour)})
	if err := s.Spill(x); err != nil {
		t.Fatal(err)
	}
	if got := m.octets("deferred/" + idA.Shard() + "/" + string(idA)); !bytes.Contains(got, append(env, '\n')) {
		t.Errorf("got\n%s\nwant the envelope as it was in it\n%s", got, env)
	}
}

func TestOneQueueRunnerHasTheSpool(t *testing.T) {
	m := newMachine(t)
	s := m.open(&bytes.Buffer{})
	if _, err := m.tryOpen(&bytes.Buffer{}); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
	s.Close()
	m.open(&bytes.Buffer{})
}

func TestMakeDirsMakesWhatIsMissing(t *testing.T) {
	m := newMachine(t)
	ops := m.disk.Ops()
	if err := MakeDirs(m.disk.Process("install"), root); err != nil || m.disk.Ops() != ops {
		t.Errorf("a second time: got %v and %d operations, want none", err, m.disk.Ops()-ops)
	}
	for _, dir := range []string{"incoming", "large", "deferred", "journal", "tmp", "corrupt"} {
		st, err := m.disk.Process("look").Stat(root + "/" + dir)
		if err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: got %v, %v", dir, st, err)
		}
	}
	if err := MakeDirs(m.disk.Process("install"), "/spool/a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the folder above: got %v", err)
	}
}
