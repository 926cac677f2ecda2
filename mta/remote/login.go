package remote

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxLogin bounds a login file.
const maxLogin = 4 << 10

// readLogin reads "user:password" from a file that others cannot read. What it holds stays out of the errors.
func readLogin(path string) (user, password string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", "", fmt.Errorf("%s: others can read it; chmod 0600", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxLogin+1))
	if err != nil {
		return "", "", err
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	user, password, ok := strings.Cut(strings.TrimRight(line, "\r"), ":")
	if !ok || user == "" || password == "" || rest != "" || len(b) > maxLogin || strings.Contains(line, "\x00") {
		return "", "", errors.New(path + ": want one line, user:password")
	}
	return user, password, nil
}
