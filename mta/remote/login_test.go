package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadLogin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "login")
	for _, c := range []struct{ text, user, password string }{
		{"", "", ""},
		{"bob", "", ""},
		{":secret", "", ""},
		{"bob:", "", ""},
		{"bob:secret\ncarol:b\n", "", ""},
		{"bob:secret\x00", "", ""},
		{"bob:secret" + strings.Repeat("x", maxLogin), "", ""},
		{"bob:a:b", "bob", "a:b"},
		{"bob:secret\r\n\n", "bob", "secret"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		user, password, err := ReadLogin(path)
		if user != c.user || password != c.password || (err == nil) != (c.user != "") {
			t.Errorf("%.40q: got %q, %q, %v; want %q, %q", c.text, user, password, err, c.user, c.password)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: the error tells the password: %v", c.text, err)
		}
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadLogin(path); err == nil {
		t.Error("a file that others can read is taken")
	}
}
