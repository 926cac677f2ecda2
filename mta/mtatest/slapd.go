package mtatest

import (
	_ "embed"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed slapd.conf
var slapdConf string

const slapdPath = "/usr/sbin/slapd"

// Slapd is an OpenLDAP server of one test, for the entries under dc=example,dc=org. Its object class mailUser may have
// mailQuota, mailForward, mailSendAs, mailDisabled and mailAlternate, and user is that of Active Directory; cn=posthouse,dc=example,dc=org may read all, and
// nobody else anything; cn=admin,dc=example,dc=org writes, with the password admin.
type Slapd struct {
	LDAPI, LDAP, LDAPS string // its URLs; LDAP has STARTTLS
	Certs              *Certs // its own, for the addresses of the URLs

	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartSlapd starts a server with entries, in LDIF. The test is skipped where there is no slapd, and fails if CI=true.
func StartSlapd(t *testing.T, entries string) *Slapd {
	t.Helper()
	if _, err := os.Stat(slapdPath); err != nil {
		Lacking(t, "%v", err)
	}
	ip := OwnIP()
	s := &Slapd{dir: t.TempDir(), Certs: NewCerts(t, ip)}
	conf := strings.NewReplacer("DIR", s.dir, "CERT", s.Certs.CertFile, "KEY", s.Certs.KeyFile).Replace(slapdConf)
	for name, text := range map[string]string{"slapd.conf": conf, "entries": entries} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	add := exec.Command(slapdPath, "-T", "add", "-q", "-f", filepath.Join(s.dir, "slapd.conf"), "-l", filepath.Join(s.dir, "entries"))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	s.LDAPI = "ldapi://" + strings.ReplaceAll(s.socket(), "/", "%2f")
	s.LDAP, s.LDAPS = "ldap://"+net.JoinHostPort(ip, "1389"), "ldaps://"+net.JoinHostPort(ip, "1636")
	s.Start(t)
	return s
}

func (s *Slapd) socket() string { return filepath.Join(s.dir, "ldapi") }

// Start starts it again, after Stop.
func (s *Slapd) Start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(slapdPath, "-f", filepath.Join(s.dir, "slapd.conf"), "-d", "0", "-h", strings.Join([]string{s.LDAP, s.LDAPS, s.LDAPI}, " ")) // it begins to listen in this order
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.cmd, s.ended = cmd, ended
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for {
		if c, err := net.Dial("unix", s.socket()); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("slapd ended:\n%s", out.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop kills it.
func (s *Slapd) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}
