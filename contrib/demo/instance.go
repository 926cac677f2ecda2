package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Who lives in the demo.
const (
	domain   = "posthouse.test" // RFC 6761 6.2: never in use elsewhere
	hostname = "mail." + domain
	alice    = "alice@" + domain
	bob      = "bob@" + domain
)

// maxSocketPath is what the address of a Unix socket holds (unix(7)).
const maxSocketPath = 107

// made are the files and folders that a demo makes in its folder, and that the next one removes.
var made = []string{"posthouse.toml", "users", "tls", "spool", "mail", "state", "run", "log"}

// instance is the folder of a demo and what is in it.
type instance struct {
	shown     string // the folder as the person named it
	dir       string // and absolute
	bin       string // where the programs are
	run       string // sockets; beside dir when dir's path is too long for them
	lock      *os.File
	passwords map[string]string // by address
}

// newInstance takes the folder: nobody else uses it, and no daemon of an earlier demo runs there any more.
func newInstance(dir, bin string) (*instance, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := writable(abs); err != nil {
		return nil, err
	}
	in := &instance{shown: dir, dir: abs, bin: bin, run: filepath.Join(abs, "run"), passwords: map[string]string{}}
	if err := in.take(); err != nil {
		return nil, err
	}
	return in, nil
}

// writable refuses paths that the configuration cannot hold.
func writable(path string) error {
	for _, r := range path {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r == '{' || r == '}' {
			return fmt.Errorf("folder %q: its path has %q in it, which the configuration cannot hold; use another folder", path, r)
		}
	}
	return nil
}

// take locks the folder. The daemons inherit the lock, so that it lasts as long as any of them.
func (in *instance) take() error {
	path := filepath.Join(in.dir, "lock")
	list, err := os.ReadDir(in.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Mkdir(in.dir, 0o700)
	case err == nil && len(list) > 0:
		if _, err = os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s holds files that no demo has made; move them away, the demo would overwrite them", in.dir)
		}
	}
	if err == nil {
		in.lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: the folder of a demo must be its own; start it elsewhere, or as the user who made that folder", err)
	}
	if err != nil {
		return err
	}
	err = syscall.Flock(int(in.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("a demo still runs in %s: %s; end it first, with Ctrl-C where it was started", in.dir, in.holders())
	}
	if err == nil {
		err = in.lock.Truncate(0)
	}
	if err == nil {
		err = in.note("posthouse-demo", os.Getpid())
	}
	if err != nil {
		in.lock.Close()
	}
	return err
}

// note writes a process into the lock file, for the one who finds the lock taken.
func (in *instance) note(name string, pid int) error {
	_, err := fmt.Fprintf(in.lock, "%s %d\n", name, pid)
	return err
}

// holders names the processes of the lock file that are still there.
func (in *instance) holders() string {
	text, err := os.ReadFile(in.lock.Name())
	if err != nil {
		return err.Error()
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(digits)
		if err == nil && pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			list = append(list, fmt.Sprintf("%s as process %d", name, pid))
		}
	}
	if list == nil {
		return "a process that has not yet said which"
	}
	return strings.Join(list, ", ")
}

func (in *instance) close() {
	if in.run != filepath.Join(in.dir, "run") {
		_ = os.RemoveAll(in.run)
	}
	in.lock.Close()
}

func (in *instance) path(elem ...string) string {
	return filepath.Join(append([]string{in.dir}, elem...)...)
}

func (in *instance) config() string { return in.path("posthouse.toml") }
func (in *instance) cert() string   { return in.path("tls", "cert.pem") }
func (in *instance) socket() string { return filepath.Join(in.run, "smtpd", "submit.sock") }

// make removes what an earlier demo has left and makes everything anew: the folders, the certificate, the
// configuration, and the users with their passwords.
func (in *instance) make(ctx context.Context) error {
	for _, name := range made {
		if err := os.RemoveAll(in.path(name)); err != nil {
			return fmt.Errorf("remove what an earlier demo has left: %w", err)
		}
	}
	for _, name := range []string{"tls", "log"} {
		if err := os.Mkdir(in.path(name), 0o700); err != nil {
			return err
		}
	}
	if err := in.shortRun(); err != nil {
		return err
	}
	if err := makeCertificate(in.cert(), in.path("tls", "key.pem")); err != nil {
		return err
	}
	if err := os.WriteFile(in.config(), []byte(in.configText()), 0o600); err != nil {
		return err
	}
	for _, address := range []string{alice, bob} {
		in.passwords[address] = rand.Text()[:16]
		if err := in.posthouse(ctx, in.passwords[address]+"\n", "user", "add", address); err != nil {
			return err
		}
	}
	return in.posthouse(ctx, "", "check")
}

// shortRun moves the sockets out of a folder whose path is too long for them.
func (in *instance) shortRun() error {
	if len(in.socket()) <= maxSocketPath {
		return nil
	}
	var err error
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		if in.run, err = os.MkdirTemp(parent, "posthouse-demo-"); err != nil {
			in.run = filepath.Join(in.dir, "run")
			continue
		}
		if len(in.socket()) <= maxSocketPath {
			return nil
		}
		_ = os.RemoveAll(in.run)
	}
	return fmt.Errorf("no folder for the socket with a path of %d octets at most: %w", maxSocketPath, err)
}

// posthouse runs the operator's command and says what it says.
func (in *instance) posthouse(ctx context.Context, input string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(in.bin, "posthouse"), append(args, "--config", in.config())...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("posthouse %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
