package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/accounts"
)

// Where it stands who may run programs.
const (
	passwdFile = "/etc/passwd"
	shellsFile = "/etc/shells"
	// defaultShell is what an empty field means (passwd(5)).
	defaultShell = "/bin/sh"
)

// errNotInFile says that an account is not in the file: that of the name service is.
var errNotInFile = errors.New("no such uid")

// mayRun says why a user's ~/.forward may start no program: whose shell is none (nologin, or what serves files alone) is kept
// from running programs here, and shall not do so by mail.
func mayRun(uid uint32, passwd, shells string) error {
	shell, err := shellOf(uid, passwd)
	if errors.Is(err, errNotInFile) && passwd == passwdFile {
		if a, nerr := accounts.New(true).LookupUID(context.Background(), uid); nerr == nil {
			shell, err = cmp.Or(a.Shell, defaultShell), nil
		} else {
			err = fmt.Errorf("%w, nor has the name service: %w", err, nerr)
		}
	}
	if err != nil {
		return err
	}
	listed, err := lines(shells)
	if errors.Is(err, fs.ErrNotExist) {
		listed, err = []string{"/bin/sh", "/bin/csh"}, nil // as getusershell(3) has it
	}
	if err != nil {
		return err
	}
	base := shell[strings.LastIndexByte(shell, '/')+1:]
	for _, s := range listed {
		if s == shell && base != "nologin" && base != "false" { // some systems list these
			return nil
		}
	}
	return fmt.Errorf("the shell %s is not one of %s: no program is run for such a user", shell, shells)
}

// shellOf is the shell of the first account with a uid.
func shellOf(uid uint32, passwd string) (string, error) {
	list, err := lines(passwd)
	if err != nil {
		return "", err
	}
	for _, line := range list {
		fields := strings.Split(line, ":")
		if len(fields) < 7 || fields[2] != strconv.FormatUint(uint64(uid), 10) {
			continue
		}
		if fields[6] == "" {
			return defaultShell, nil
		}
		return fields[6], nil
	}
	return "", fmt.Errorf("%s has no uid %d: %w", passwd, uid, errNotInFile)
}

// lines are those of a file, without blanks at their ends.
func lines(path string) (list []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		list = append(list, strings.TrimSpace(in.Text()))
	}
	return list, in.Err()
}
