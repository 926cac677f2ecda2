package remote

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// maxLogin bounds a login file.
const maxLogin = 4 << 10

// ReadLogin reads "user:password" from a file that others cannot read. What it holds stays out of the errors.
func ReadLogin(path string) (user, password string, err error) {
	b, info, err := conffile.Read(path, maxLogin)
	if err != nil {
		return "", "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", "", fmt.Errorf("%s: others can read it; chmod 0600", path)
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	user, password, ok := strings.Cut(strings.TrimRight(line, "\r"), ":")
	if !ok || user == "" || password == "" || rest != "" || strings.Contains(line, "\x00") {
		return "", "", errors.New(path + ": want one line, user:password")
	}
	return user, password, nil
}
