package acme

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestDue(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }
	leaf := &x509.Certificate{NotBefore: day(0), NotAfter: day(90)}
	for _, c := range []struct {
		name       string
		now, asked time.Time
		want       bool
	}{
		{"fresh", day(1), time.Time{}, false},
		{"a day before a third is left", day(59), time.Time{}, false},
		{"a third is left", day(60), time.Time{}, true},
		{"it has ended", day(91), time.Time{}, true},
		{"the authority wants it early", day(3), day(2), true},
		{"the authority wants it later", day(61), day(70), false},
		{"the authority wants it too late", day(75), day(89), true},
		{"the authority wants it after the end", day(91), day(100), true},
	} {
		if got := due(leaf, c.asked, c.now); (got != "") != c.want {
			t.Errorf("%s: got %q, want due %v", c.name, got, c.want)
		}
	}
}

// obtained is a state with a certificate for the names, as Obtain leaves it.
func obtained(t *testing.T, names ...string) (state, output string, target Target) {
	t.Helper()
	certs := mtatest.NewCerts(t, names...)
	state, output = t.TempDir(), t.TempDir()
	target = Target{Names: names, Certificate: filepath.Join(output, "sub/fullchain.pem"), Key: filepath.Join(output, "sub/key.pem")}
	dir := filepath.Join(state, target.folder(output))
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{certs.CertFile: chainFile, certs.KeyFile: keyFile} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return state, output, target
}

func TestInstallPutsAPairInPlaceOnce(t *testing.T) {
	state, output, target := obtained(t, "mail.example.org")
	place := Place{Group: os.Getgid(), Mode: 0o640}
	for i, want := range []bool{true, false} {
		if _, changed, err := Install(target, state, output, place, time.Now()); err != nil || changed != want {
			t.Fatalf("install %d: got %v, %v, want %v", i, changed, err, want)
		}
	}
	for path, want := range map[string]fs.FileMode{target.Key: 0o640, target.Certificate: 0o644} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", path, st.Mode(), err, want)
		}
	}
}

// The state belongs to who speaks to the network: root takes nothing from there that it has not checked.
func TestInstallTakesNothingElse(t *testing.T) {
	other, otherOutput, otherTarget := obtained(t, "mail.example.org")
	for _, c := range []struct {
		name, want string
		names      []string
		spoil      func(dir string) error
	}{
		{"nothing yet", "no such file", nil, func(dir string) error { return os.RemoveAll(dir) }},
		{"other names", "not mail.example.net", []string{"mail.example.net"}, nil},
		{"a wildcard that is not there", "not made out to *.example.org", []string{"*.example.org"}, nil},
		{"a key of another", "private key does not match", nil, func(dir string) error {
			b, err := os.ReadFile(filepath.Join(other, otherTarget.folder(otherOutput), keyFile))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, keyFile), b, 0o640))
		}},
		{"a link to a key", "too many levels of symbolic links", nil, func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, keyFile), filepath.Join(dir, "x")), os.Symlink("x", filepath.Join(dir, keyFile)))
		}},
		{"a folder", "not a regular file", nil, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, keyFile)), os.Mkdir(filepath.Join(dir, keyFile), 0o755))
		}},
		{"a flood", "larger than", nil, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, chainFile), make([]byte, maxFile+1), 0o640)
		}},
		{"no PEM", "failed to find any PEM data", nil, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, chainFile), []byte("x"), 0o640)
		}},
	} {
		state, output, target := obtained(t, "mail.example.org")
		if c.spoil != nil {
			if err := c.spoil(filepath.Join(state, target.folder(output))); err != nil {
				t.Fatal(err)
			}
		}
		if c.names != nil {
			target.Names = c.names
		}
		_, changed, err := Install(target, state, output, Place{-1, 0o600}, time.Now())
		if err == nil || changed || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want %q", c.name, changed, err, c.want)
		}
		if _, err := os.Stat(target.Key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the key is in place", c.name)
		}
	}
	state, output, target := obtained(t, "mail.example.org")
	if _, _, err := Install(target, state, output, Place{-1, 0o600}, time.Now().AddDate(1, 0, 0)); err == nil || !strings.Contains(err.Error(), "it ended") {
		t.Errorf("a certificate that has ended: got %v", err)
	}
}

func TestAStateOfALaterVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := (Record{Error: "x"}).write(dir); err != nil {
		t.Fatal(err)
	}
	if r, err := readRecord(dir); err != nil || r.Error != "x" || r.Version != stateVersion {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"version":2}`), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(dir); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestTheHooksLastWordsAreKept(t *testing.T) {
	var s tail
	for range 1000 {
		if _, err := s.Write([]byte("word\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Write([]byte("\xffend")); err != nil || len(s.b) != maxSaid || !strings.HasSuffix(s.String(), "word ?end") {
		t.Errorf("got %q of %d octets", s.String(), len(s.b))
	}
	if got := (&tail{}).String(); got != "it said nothing" {
		t.Errorf("got %q", got)
	}
}
