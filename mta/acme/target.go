package acme

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// LetsEncrypt is the directory that "letsencrypt" stands for.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Directory is the URL of the authority's directory.
func Directory(c config.ACME) string {
	if c.Directory == "letsencrypt" {
		return LetsEncrypt
	}
	return c.Directory
}

// Target is a certificate that the configuration asks for.
type Target struct {
	Names            []string // the first one names it in the log
	Certificate, Key string   // files that the daemons read
}

// folder is the target's own, under the state.
func (t Target) folder(output string) string {
	rel, err := filepath.Rel(output, t.Certificate)
	if err != nil {
		rel = t.Certificate
	}
	return url.PathEscape(rel)
}

// Targets are the certificates of [tls] whose files are under acme.output: the main one is for the host's name, the others
// for the names that they stand by.
func Targets(c *config.Config) []Target {
	if c.ACME.Email == "" {
		return nil
	}
	var all []Target
	add := func(names []string, cert, key string) {
		if !c.ACME.Holds(cert) || !c.ACME.Holds(key) {
			return
		}
		t := Target{Certificate: cert, Key: key}
		for _, n := range names {
			if n = strings.ToLower(n); !slices.Contains(t.Names, n) {
				t.Names = append(t.Names, n)
			}
		}
		all = append(all, t)
	}
	add([]string{c.Hostname}, c.TLS.Certificate, c.TLS.Key)
	for _, s := range c.TLS.SNI {
		add(s.Names, s.Certificate, s.Key)
	}
	return all
}
