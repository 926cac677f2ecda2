package e2e_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// writeVersion is for a release: go test ./contrib/e2e -run TestDataOfThisVersionIsWritten -write-version 1.0
var writeVersion = flag.String("write-version", "", "keep what this version writes as testdata/versions/`NAME`.tar.gz")

// TestDataOfThisVersionIsWritten makes a system with mail in each state, by the programs themselves, and ends queue-runner
// as a power cut would.
func TestDataOfThisVersionIsWritten(t *testing.T) {
	if *writeVersion == "" {
		t.Skip("without -write-version")
	}
	i := versionInstance(t, bin, nowhere)
	f := &filling{i, t, i.leaveMail(t, nil)}
	f.writeState()
	i.wantAllFormats(t)
	if t.Failed() {
		return
	}
	i.pack(t, filepath.Join("testdata/versions", *writeVersion+".tar.gz"), f.n)
}

// laterFields puts a field that this version does not know into each file of state, as a later version might.
func (i *instance) laterFields(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(i.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(b, []byte("{\"")) { // an object, or one a line
			err = os.WriteFile(path, regexp.MustCompile(`(?m)^\{"`).ReplaceAll(b, []byte(`{"of_a_later_version":{"x":[1]},"`)), 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What each version has written is read by this one: all of it is delivered and fetched, once, and every user can log in.
func TestDataOfEarlierVersions(t *testing.T) {
	files, err := filepath.Glob("testdata/versions/*.tar.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no data: %v", err)
	}
	for _, file := range files {
		for _, later := range []bool{false, true} {
			name := strings.TrimSuffix(filepath.Base(file), ".tar.gz")
			if later {
				name += ", with fields of a later one"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				sink := versionSink(t)
				i := newInstance(t, options{users: []string{}})
				n := i.unpack(t, file, sink.Addr())
				if later {
					i.laterFields(t)
				}
				i.wantSound()
				i.knownFiles(t)
				i.stateHolds(t, n)
				i.linkFilters()
				i.startAll()
				i.takesUp(t, n, sink)
			})
		}
	}
}

// A spool that only a later version can read is not touched: what waits in it is there for that one, and smtpd takes mail.
func TestASpoolOfALaterVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	i := newInstance(t, options{})
	i.startAll()
	i.queue.Terminate(t)
	id := i.deposit(t, "Subject: waits\r\n\r\nx\r\n", "bob")
	lock := filepath.Join(i.spool, "lock")
	mtatest.Write(t, lock, "2\n")
	i.queue = i.launch("queue-runner")
	if status := i.queue.Status(t); status != 65 { // for which the unit does not start it again
		t.Errorf("queue-runner, with a later version's spool: got status %d, want 65", status)
	}
	i.queue.Await(t, `event=stopped .*lock: the spool is of version .*written by a newer version; nothing was changed`)
	if status, out := i.check(); status == 0 || !strings.Contains(out, "written by a newer version") {
		t.Errorf("posthouse queue check: status %d\n%s", status, out)
	}
	more := i.deposit(t, "Subject: comes in\r\n\r\nx\r\n", "bob")
	mtatest.Write(t, lock, "") // as the later version, which has emptied it
	i.restart(&i.queue)
	i.delivered(id, "bob")
	i.delivered(more, "bob")
	wantSubjects(t, "bob", i.fetchAll(t, "bob"), []string{"waits", "comes in"})
	i.stop()
	i.wantSound()
}

// takesUp has the daemons, which run, do what is left to do, and counts what came of it.
func (i *instance) takesUp(t *testing.T, n versionNote, sink *mtatest.Sink) {
	t.Helper()
	c := i.login(t, "bob")
	uidls, err := c.list("UIDL")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range n.UIDLs {
		if !slices.Contains(uidls, u) {
			t.Errorf("bob's program would fetch %s again: there is %q", u, uidls)
		}
	}
	c.close()
	for local, want := range n.Seen {
		got := i.shownUIDLs(t, local)
		for _, u := range want {
			if !slices.Contains(got, u) {
				t.Errorf("%s's program would fetch %s again: there is %q", local, u, got)
			}
		}
	}
	i.stillKnown(t, &n)
	i.ask("release", "--status=held", "--yes")
	i.tryAsk("retry", "--all", "--yes") // some may have gone meanwhile
	due := slices.Clone(n.Remote)
	later := 0
	for subject, at := range n.Later {
		if at.After(time.Now()) {
			due = slices.DeleteFunc(due, func(s string) bool { return s == subject })
			later++
		}
	}
	mtatest.Eventually(t, func() error {
		if q := i.inQueue(); len(q) != later {
			return fmt.Errorf("%d messages wait, want %d: %+v", len(q), later, q)
		}
		return nil
	})
	var remote [][]byte
	for _, m := range sink.Messages() {
		for range m.Rcpts {
			remote = append(remote, []byte(m.Data))
		}
		said := m.Mail + " " + strings.Join(m.Rcpts, " ")
		if want := n.Said[subjectOf([]byte(m.Data))]; !regexp.MustCompile(want).MatchString(said) {
			tell := t.Errorf
			if i.bin != bin { // an earlier version need not know what it kept
				tell = t.Logf
			}
			tell("%s: the next host was told %q, want %s", subjectOf([]byte(m.Data)), said, want)
		}
	}
	wantSubjects(t, "others", remote, due)
	if i.bin == bin && strings.Contains(i.text, "quota") {
		status, out := i.posthouse("", "mailbox", "quota", "-c", i.conf, i.address("bob"))
		if status != 0 || strings.Contains(out, "the quota file") || !strings.Contains(out, fmt.Sprintf(" %d messages, ", len(n.Local)+len(n.Boxes["bob/.Junk"]))) {
			t.Errorf("the quota of bob: status %d, %s", status, out)
		}
	}
	wantSubjects(t, "bob", i.fetchAll(t, "bob"), n.Local)
	for box, want := range n.Boxes {
		wantSubjects(t, box, i.inBox(t, box), want)
	}
	for local := range versionSchemes {
		i.submit(t, local).close()
		i.login(t, local).close()
	}
	i.stop()
	i.wantSound()
	if i.bin == bin {
		i.knownFiles(t)
	}
}

// greyKept is how long the data of a version hold what the filter greylist knows: as long as it may be told to keep it.
const greyKept = 390 * 24 * time.Hour

// stillKnown has a sender that the filter greylist knew come back, and another.
func (i *instance) stillKnown(t *testing.T, n *versionNote) {
	t.Helper()
	if n.Known == "" || time.Since(n.Made) > greyKept {
		return
	}
	n.Local = append(n.Local, "again")
	if err := i.greyed(t, n.Known, "Subject: again\r\n\r\nx\r\n"); err != nil {
		t.Errorf("who was known to the filter greylist: %v", err)
	}
	var no *replyError
	if err := i.greyed(t, "new@away.test", "Subject: new\r\n\r\nx\r\n"); !errors.As(err, &no) || !strings.HasPrefix(no.got, "451") {
		t.Errorf("who was not: got %v, want 451", err)
	}
}

// inBox are the messages of a mailbox, or of its folder as in "bob/.Junk".
func (i *instance) inBox(t *testing.T, box string) (all [][]byte) {
	t.Helper()
	for _, sub := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(i.mailbox(box), sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all = append(all, []byte(readFile(t, f)))
		}
	}
	return all
}

func subjectOf(m []byte) string {
	for line := range strings.Lines(string(m)) {
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			return strings.TrimRight(s, "\r\n")
		}
	}
	return ""
}

func wantSubjects(t *testing.T, who string, messages [][]byte, want []string) {
	t.Helper()
	var got []string
	for _, m := range messages {
		got = append(got, subjectOf(m))
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%q\nwant\n%q", who, got, want)
	}
}
