package acme

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// Place says how files are to be where the daemons read them.
type Place struct {
	Group int         // of the key; -1: as it comes
	Mode  fs.FileMode // of the key
}

// Install copies what was obtained for a target to where the daemons read it, where it is another and still good. The key goes
// first: the daemons take up a pair once both fit. It returns the certificate that is in place and whether it was put there;
// nothing was obtained yet: fs.ErrNotExist.
func Install(t Target, state, output string, p Place, now time.Time) (leaf *x509.Certificate, changed bool, err error) {
	dir := filepath.Join(state, t.folder(output))
	chain, key, leaf, err := pair(filepath.Join(dir, chainFile), filepath.Join(dir, keyFile), t.Names)
	if err != nil {
		return nil, false, err
	}
	if now.After(leaf.NotAfter) {
		return nil, false, fmt.Errorf("%s: it ended %s", filepath.Join(dir, chainFile), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	files := []struct {
		path string
		text []byte
		mode fs.FileMode
		own  owner
	}{{t.Key, key, p.Mode, owner{-1, p.Group}}, {t.Certificate, chain, 0o644, asItComes}}
	for _, f := range files {
		old, _, err := conffile.Read(f.path, maxFile)
		if err == nil && bytes.Equal(old, f.text) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return nil, false, err
		}
		if err := put(f.path, f.text, f.mode, f.own); err != nil {
			return nil, false, err
		}
		changed = true
	}
	return leaf, changed, nil
}
