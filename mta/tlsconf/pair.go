package tlsconf

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// MaxPEM bounds the file of a certificate or of a key, octets.
const MaxPEM = 1 << 20

// pair is a certificate chain and its key, as two files have them.
type pair struct {
	certFile, keyFile string
	cert              atomic.Pointer[tls.Certificate]

	seen  [2]stamp // guarded by Server.mu, as fault
	fault string   // last reported
}

// stamp is what changes when a file does.
type stamp struct {
	mtime time.Time
	size  int64
	mode  os.FileMode
	inode uint64
}

func openPair(certFile, keyFile string) (*pair, error) {
	p := &pair{certFile: certFile, keyFile: keyFile}
	seen, err := p.stamps()
	if err != nil {
		return nil, err
	}
	cert, err := p.load()
	if err != nil {
		return nil, err
	}
	p.seen = seen
	p.cert.Store(cert)
	return p, nil
}

// check reads the files again where they have changed.
func (p *pair) check(log *maillog.Log) {
	if seen, err := p.stamps(); err != nil || seen != p.seen || p.fault != "" {
		_ = p.reload(log) // it reports
	}
}

// reload tells the log of a new pair, and once of each fault. While a fault lasts each check tries again: the two files are
// seldom written at the same moment.
func (p *pair) reload(log *maillog.Log) error {
	seen, err := p.stamps()
	var cert *tls.Certificate
	if err == nil {
		cert, err = p.load()
	}
	if err != nil {
		if err.Error() != p.fault {
			p.fault = err.Error()
			log.CertificateRefused(p.certFile, err)
		}
		return err
	}
	same := cert.Leaf.Equal(p.cert.Load().Leaf)
	p.seen, p.fault = seen, ""
	p.cert.Store(cert)
	if !same {
		log.CertificateReloaded(p.certFile, cert.Leaf.NotAfter)
	}
	return nil
}

func (p *pair) stamps() (all [2]stamp, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		st, err := os.Stat(name)
		if err != nil {
			return all, err
		}
		all[i] = stamp{mtime: st.ModTime(), size: st.Size(), mode: st.Mode()}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			all[i].inode = sys.Ino
		}
	}
	return all, nil
}

func (p *pair) load() (*tls.Certificate, error) {
	cert, _, err := conffile.Read(p.certFile, MaxPEM)
	if err != nil {
		return nil, err
	}
	key, st, err := conffile.Read(p.keyFile, MaxPEM)
	if err != nil {
		return nil, err
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others at the key; allowed: 0640 or less", p.keyFile, mode)
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	if c.Leaf == nil {
		return nil, fmt.Errorf("certificate %s: no leaf certificate", p.certFile)
	}
	return &c, nil
}
