package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

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
	mtatest.Write(t, filepath.Join(i.dir, "note.json"), string(note))
	mtatest.Write(t, i.conf, i.places(nowhere).Replace(i.text))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err = filepath.WalkDir(i.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(i.dir, path)
		if err != nil || rel == "." || d.Type()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeSymlink) != 0 || strings.HasPrefix(rel, "run") {
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
	mtatest.Write(t, file, b.String())
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
	mtatest.Write(t, i.conf, strings.NewReplacer(pairs...).Replace(readFile(t, i.conf)))
	return n
}
