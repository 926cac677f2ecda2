package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func TestQueueCheckTellsWhatIsThereAndWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "spool")
	if err := spool.MakeDirs(durable.OS{}, root); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "posthouse.toml")
	bad := filepath.Join(dir, "bad.toml")
	writeFile(t, good, fmt.Sprintf("hostname = \"mail.example.org\"\n[spool]\npath = %q\n", root))
	writeFile(t, bad, "nonsense = 1\n")
	broken := filepath.Join(root, "deferred", "AB")

	for _, c := range []struct {
		what   string
		before func()
		args   []string
		code   int
		out    string
		errOut string
	}{
		{"bad configuration", nil, []string{"queue", "check", "-c", bad}, 78, "", "nonsense"},
		{"no command", nil, []string{"queue"}, 64, "", "no command given"},
		{"an argument too many", nil, []string{"queue", "check", "now"}, 64, "", "now"},
		{"empty spool", nil, []string{"queue", "check", "-c", good}, 0, "OK: " + root, ""},
		{"half a deferred file", func() {
			if err := os.Mkdir(broken, 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(broken, "0123456789ABCDAB"), "half")
		}, []string{"queue", "check", "-c", good}, 1, "", "0123456789ABCDAB"},
	} {
		if c.before != nil {
			c.before()
		}
		var out, errOut bytes.Buffer
		code := execute(context.Background(), c.args, strings.NewReader(""), &out, &errOut)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errOut.String(), c.errOut) {
			t.Errorf("%s: got %d, out %q, err %q; want %d, %q, %q", c.what, code, &out, &errOut, c.code, c.out, c.errOut)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}
