package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// Names of the files in a target's folder.
const (
	keyFile   = "key.pem"
	chainFile = "fullchain.pem"
	stateFile = "state.json"
)

// maxFile bounds what is read of a file: a chain is a few thousand octets long.
const maxFile = 1 << 20

// stateVersion is that of Record. A later one is refused: it may mean something else.
const stateVersion = 1

// Record is what is known of a target beside its files.
type Record struct {
	Version   int       `json:"version"`
	Directory string    `json:"directory,omitempty"` // that the certificate came from
	Obtained  time.Time `json:"obtained,omitzero"`
	Tried     time.Time `json:"tried,omitzero"`
	Error     string    `json:"error,omitempty"` // of the last attempt
	Renew     time.Time `json:"renew,omitzero"`  // when it is due
}

// ErrBusy says that another process obtains certificates.
var ErrBusy = errors.New("another posthouse cert is at work")

// lock keeps others out of the state until it is released.
func lock(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrBusy)
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// owner of a file; -1 is as it comes.
type owner struct{ uid, gid int }

var asItComes = owner{-1, -1}

// put replaces a file in one step that lasts.
func put(path string, text []byte, mode fs.FileMode, o owner) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // does nothing after the rename
	if err := giveTo(f.File, o); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.OS{}.SyncDir(filepath.Dir(path))
}

// giveTo gives a file to an owner. Under systemd it has the right one already, and the call is forbidden.
func giveTo(f *os.File, o owner) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if (o.uid < 0 || int(st.Uid) == o.uid) && (o.gid < 0 || int(st.Gid) == o.gid) {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// read reads a small regular file, through no symbolic link: the state belongs to a user that root trusts no further.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s: not a regular file", path))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: larger than %d octets", path, maxFile)
	}
	return b, err
}

func readRecord(dir string) (Record, error) {
	var r Record
	b, err := read(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, nil // it only remembers: what was lost is found out again
	}
	if r.Version > stateVersion {
		return r, fmt.Errorf("%s: written by a later version (%d; this one knows %d): install that one, or remove the folder to begin anew",
			filepath.Join(dir, stateFile), r.Version, stateVersion)
	}
	return r, nil
}

func (r Record) write(dir string) error {
	r.Version = stateVersion
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return put(filepath.Join(dir, stateFile), append(b, '\n'), 0o640, asItComes)
}

// loadKey reads a key; where there is none it makes one and keeps it.
func loadKey(path string, mode fs.FileMode, o owner) (crypto.Signer, error) {
	b, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(path, mode, o)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM; put the key back, or remove the file for a new one", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: %T is no key that signs", path, k)
	}
	return s, nil
}

// Key is the key that a certificate for the target will have; where there is none it is made. Root gives what it makes here to
// whoever the state belongs to.
func Key(t Target, state, output string) (crypto.Signer, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	dir := filepath.Join(state, t.folder(output))
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Stat(state, &st); err != nil {
		return nil, err
	}
	o := asItComes
	if os.Geteuid() == 0 {
		o.uid = int(st.Uid)
	}
	if err := os.Lchown(dir, o.uid, -1); err != nil {
		return nil, err
	}
	return loadKey(filepath.Join(dir, keyFile), 0o640, o)
}

// newKey makes a P-256 key, which every mail server and mail program knows.
func newKey(path string, mode fs.FileMode, o owner) (crypto.Signer, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return k, put(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode, o)
}

// pair reads a chain and its key, and holds them against each other and the names.
func pair(chainPath, keyPath string, names []string) (chain, key []byte, leaf *x509.Certificate, err error) {
	if chain, err = read(chainPath); err != nil {
		return nil, nil, nil, err
	}
	if key, err = read(keyPath); err != nil {
		return nil, nil, nil, err
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s with %s: %w", chainPath, keyPath, err)
	}
	for _, n := range names {
		if err := covers(c.Leaf, n); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", chainPath, err)
		}
	}
	return chain, key, c.Leaf, nil
}

// covers tells whether a certificate has a name, which may begin with "*.".
func covers(leaf *x509.Certificate, name string) error {
	for _, n := range leaf.DNSNames {
		if n == name {
			return nil
		}
	}
	if len(name) > 2 && name[:2] == "*." {
		return fmt.Errorf("the certificate is not made out to %s", name)
	}
	return leaf.VerifyHostname(name)
}
