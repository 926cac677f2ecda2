package config

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Holds tells whether a file is one that `posthouse cert` is to write: output or a folder in it has it.
func (a ACME) Holds(path string) bool {
	rel, err := filepath.Rel(a.Output, path)
	return err == nil && path != "" && rel != ".." && !strings.HasPrefix(rel, "../")
}

// checkACME holds [acme] against the certificates that it is to obtain. Without an email all of it sleeps.
func (r *reader) checkACME() {
	a, at := r.cfg.ACME, func(key string) *node { return r.root.get("acme", key) }
	if u, err := url.Parse(a.Directory); a.Directory != "letsencrypt" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
		r.fault(at("directory"), "acme.directory", "%q; allowed: \"letsencrypt\", or a URL that begins with https://", a.Directory)
	}
	if network, _, err := SplitListen(a.Listen); err != nil || network != "tcp" {
		r.fault(at("listen"), "acme.listen", "%q; allowed: an address and a port, as in \":80\"", a.Listen)
	}
	r.absolute(a.DNSHook, "acme", "dns_hook")
	if a.Email == "" {
		return
	}
	if _, err := mta.ParseAddress(a.Email); err != nil {
		r.fault(at("email"), "acme.email", "%q: %v; allowed: an address, as in \"postmaster@example.org\"", a.Email, err)
	}
	r.checkCertificates(a)
}

// checkCertificates looks for what an authority would refuse, and for a pair that is only half to be written.
func (r *reader) checkCertificates(a ACME) {
	found := false
	one := func(n *node, key string, names []string, cert, keyPath string) {
		found = found || a.Holds(cert) || a.Holds(keyPath)
		if a.Holds(cert) != a.Holds(keyPath) {
			r.fault(n, key, "of certificate and key one is under acme.output (%s) and one is not; allowed: both, or neither", a.Output)
			return
		}
		if !a.Holds(cert) {
			return
		}
		for _, name := range names {
			switch {
			case !strings.Contains(strings.TrimPrefix(name, "*."), "."):
				r.fault(n, key, "no authority makes a certificate for %q; allowed: a full name, as in mail.example.org", name)
			case strings.HasPrefix(name, "*.") && a.DNSHook == "":
				r.fault(n, key, "%q needs acme.dns_hook: HTTP-01 is not for wildcards (RFC 8555 8.3)", name)
			}
		}
	}
	one(r.root.get("tls", "certificate"), "tls.certificate", []string{r.cfg.Hostname}, r.cfg.TLS.Certificate, r.cfg.TLS.Key)
	seen := map[string]bool{r.cfg.TLS.Certificate: true}
	for i, s := range r.cfg.TLS.SNI {
		n := r.root.get("tls", "sni").item(i)
		if one(n, "tls.sni", s.Names, s.Certificate, s.Key); a.Holds(s.Certificate) && seen[s.Certificate] {
			r.fault(n, "tls.sni.certificate", "%s is already written for other names; allowed: a file for each certificate", s.Certificate)
		}
		seen[s.Certificate] = true
	}
	if !found {
		r.fault(r.root.get("acme", "email"), "acme.email", "no certificate of [tls] is under acme.output (%s), so there is none to obtain; allowed: tls.certificate and tls.key there", a.Output)
	}
}
