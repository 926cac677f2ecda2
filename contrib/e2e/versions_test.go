package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// writeVersion is for a release: go test ./contrib/e2e -run TestDataOfThisVersionIsWritten -write-version 1.0
var writeVersion = flag.String("write-version", "", "keep what this version writes as testdata/versions/`NAME`.tar.gz")

// versionNote is what the data of a version holds; it lies beside them.
type versionNote struct {
	Remote []string // subjects that are on their way to others, one for each recipient
	Local  []string // ... to bob
	UIDLs  []string // of what bob had seen
}

// Schemes of the users file that the data have a user for.
var versionSchemes = map[string]string{"alice": "", "bob": "argon2id", "carol": "bcrypt", "dave": "sha512-crypt"}

// bigLetter has its content in a file of its own.
func bigLetter(subject string) string {
	return "Subject: " + subject + "\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 60000)
}

// TestDataOfThisVersionIsWritten makes a system with mail in each state, by the programs themselves, and ends queue-runner
// as a power cut would.
func TestDataOfThisVersionIsWritten(t *testing.T) {
	if *writeVersion == "" {
		t.Skip("without -write-version")
	}
	i := newInstance(t, options{users: []string{}, more: versionRoute("127.0.0.1:1")})
	for local, scheme := range versionSchemes {
		args := []string{"user", "add", "--config", i.conf, i.address(local)}
		if scheme != "" {
			args = append(args, "--scheme", scheme)
		}
		if status, out := i.posthouse(password+"\n", args...); status != 0 {
			t.Fatalf("%v: status %d, %s", args, status, out)
		}
	}
	i.startAll()
	var n versionNote
	local := func(subject string) string {
		n.Local = append(n.Local, subject)
		return "Subject: " + subject + "\r\n\r\nx\r\n"
	}
	remote := func(subject string) string {
		n.Remote = append(n.Remote, subject)
		return "Subject: " + subject + "\r\n\r\nx\r\n"
	}
	for _, s := range []string{"in the mailbox", "in the mailbox, read", "in the mailbox too"} {
		i.delivered(i.deposit(t, local(s), "bob"), "bob")
	}
	c := i.login(t, "bob")
	var err error
	if n.UIDLs, err = c.list("UIDL"); err == nil {
		_, err = c.fetch(2)
	}
	if err == nil {
		_, err = c.cmd("QUIT")
	}
	if err != nil {
		t.Fatal(err)
	}
	i.wait(remote("deferred"), "u@away.test")
	held := i.wait(remote("held"), "u@held.test")
	if status, out := i.posthouse("", "queue", "hold", "--config", i.conf, "--reason", "kept for the test", held); status != 0 {
		t.Fatalf("hold: %d %s", status, out)
	}
	n.Local = append(n.Local, "one delivered, one deferred")
	s := i.submit(t, "alice")
	id, _, err := s.send([]byte(remote("one delivered, one deferred")), i.address("alice"), i.address("bob"), "u@away.test")
	if err != nil {
		t.Fatal(err)
	}
	i.delivered(id, "bob")
	i.queue.await(t, "event=deferred id="+id)
	n.Remote = append(n.Remote, "large, deferred")
	i.wait(bigLetter("large, deferred"), "u@away.test")
	i.queue.kill()
	for _, m := range []struct{ content, to string }{
		{local("incoming"), i.address("bob")}, {remote("incoming for others"), "u@away.test"}, {bigLetter("large, incoming"), i.address("bob")},
	} {
		c := i.submit(t, "alice")
		if _, _, err := c.send([]byte(m.content), i.address("alice"), m.to); err != nil {
			t.Fatal(err)
		}
		c.close()
	}
	n.Local = append(n.Local, "large, incoming")
	i.smtpd.terminate(t) // it keeps the rates then
	i.pop3d.kill()
	i.pack(t, filepath.Join("testdata/versions", *writeVersion+".tar.gz"), n)
}

func versionRoute(to string) string {
	return "[queue]\ndelay_notice = \"0\"\nlifetime = \"60d\"\n[[route]]\ndomain = \"*\"\nto = \"smtp:" + to + "\"\ntls = \"none\"\n"
}

// places are what differs between two instances in a configuration.
func (i *instance) places(sink string) *strings.Replacer {
	var pairs []string
	for name, value := range i.placeNames(sink) {
		pairs = append(pairs, value, name)
	}
	return strings.NewReplacer(pairs...)
}

func (i *instance) placeNames(sink string) map[string]string {
	return map[string]string{"@DIR@": i.dir, "@CERT@": i.certs.CertFile, "@KEY@": i.certs.KeyFile, "@MX@": i.mx, "@SUBMISSION@": i.submission,
		"@SUBMISSIONS@": i.submissions, "@POP3@": i.pop3, "@POP3S@": i.pop3s, "@SINK@": sink}
}

// pack keeps what there is in an archive.
func (i *instance) pack(t *testing.T, file string, n versionNote) {
	t.Helper()
	note, err := json.MarshalIndent(n, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(i.dir, "note.json"), string(note))
	write(t, i.conf, i.places("127.0.0.1:1").Replace(i.text))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err = filepath.WalkDir(i.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(i.dir, path)
		if err != nil || rel == "." || d.Type()&(fs.ModeSocket|fs.ModeNamedPipe) != 0 || strings.HasPrefix(rel, "run") {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(st, "")
		if err != nil {
			return err
		}
		if h.Name = rel; d.IsDir() {
			return w.WriteHeader(h)
		}
		text, err := os.ReadFile(path)
		if err == nil {
			h.Size = int64(len(text))
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, file, b.String())
}

// unpack puts what a version has written in an instance's place.
func (i *instance) unpack(t *testing.T, file, sink string) (n versionNote) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(i.dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
		}
		if err = errors.Join(err, os.Chmod(path, h.FileInfo().Mode()), os.Chtimes(path, h.ModTime, h.ModTime)); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(i.dir, "note.json"))), &n); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for name, value := range i.placeNames(sink) {
		pairs = append(pairs, name, value)
	}
	write(t, i.conf, strings.NewReplacer(pairs...).Replace(readFile(t, i.conf)))
	return n
}

// laterFields puts a field that this version does not know into each file of state, as a later version might.
func (i *instance) laterFields(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(i.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(b, []byte("{\"")) {
			err = os.WriteFile(path, append([]byte(`{"of_a_later_version":{"x":[1]},`), b[1:]...), 0o600)
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
				sink := (&mtatest.Sink{}).Start(t, "")
				i := newInstance(t, options{users: []string{}})
				n := i.unpack(t, file, sink.Addr())
				if later {
					i.laterFields(t)
				}
				i.wantSound()
				i.startAll()
				i.takesUp(t, n, sink)
			})
		}
	}
}

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
	i.ask("release", "--status=held", "--yes")
	i.tryAsk("retry", "--all", "--yes") // some may have gone meanwhile
	eventually(t, func() error {
		if q := i.inQueue(); len(q) > 0 {
			return fmt.Errorf("%d messages wait still: %+v", len(q), q)
		}
		return nil
	})
	var remote [][]byte
	for _, m := range sink.Messages() {
		for range m.Rcpts {
			remote = append(remote, []byte(m.Data))
		}
	}
	wantSubjects(t, "others", remote, n.Remote)
	wantSubjects(t, "bob", i.fetchAll(t, "bob"), n.Local)
	for local := range versionSchemes {
		i.submit(t, local).close()
		i.login(t, local).close()
	}
	i.stop()
	i.wantSound()
}

func wantSubjects(t *testing.T, who string, messages [][]byte, want []string) {
	t.Helper()
	var got []string
	for _, m := range messages {
		for line := range strings.Lines(string(m)) {
			if s, ok := strings.CutPrefix(line, "Subject: "); ok {
				got = append(got, strings.TrimRight(s, "\r\n"))
				break
			}
		}
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", who, got, want)
	}
}
