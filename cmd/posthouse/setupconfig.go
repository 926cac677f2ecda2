package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// configText is what `posthouse setup` writes. The listeners are those of the socket units.
const configText = `# The configuration of Posthouse, by posthouse setup. posthouse.toml(5) describes each key; a sample with all of them is in
# /usr/share/doc/posthouse/examples. After a change: posthouse check, then reload the daemons.

hostname   = %[1]q
postmaster = %[2]q

[tls]
certificate = %[3]q
key         = %[4]q

%[6]s%[5]s
[filters]
enabled = ["spf", "dkim", "dmarc"]

# Under systemd each address is also in a socket unit: systemctl edit posthouse-smtpd.socket, posthouse-pop3d.socket.
[[smtpd.listen]]
address = ":25"
role    = "mx"

[[smtpd.listen]]
address = ":587"
role    = "submission"

[[smtpd.listen]]
address = ":465"
role    = "submission"
tls     = "implicit"

[[smtpd.listen]]
address = "unix:/run/posthouse/smtpd/submit.sock"
role    = "local"

[[pop3d.listen]]
address = ":110"

[[pop3d.listen]]
address = ":995"
tls     = "implicit"
`

// acmeText switches `posthouse cert` on; output is the folder of the certificate.
func acmeText(email, output string) string {
	if output == "/etc/posthouse/tls" {
		output = ""
	} else {
		output = fmt.Sprintf("output = %q\n", output)
	}
	return "# posthouse cert renews the certificate, by posthouse-cert.timer. The authority asks at port 80; where that is in use, see dns_hook.\n" +
		fmt.Sprintf("[acme]\nemail = %q\n%s\n", email, output)
}

// domainText is a domain's part of the configuration.
func domainText(domain, mailboxes string) string {
	whose := ""
	if mailboxes == system {
		whose = "mailboxes = \"system\" # of the users of this machine, in their homes; posthouse-as-user delivers\n"
	}
	return fmt.Sprintf("[domains.%q]\n%s", domain, whose) + fmt.Sprintf("dkim = [\"mail%[1]d\", \"ed%[1]d\"]\n", year())
}

// writeConfig writes a new configuration, or adds the domain to the one that is there; then it is read.
func (s *setup) writeConfig(fresh bool) error {
	switch {
	case fresh:
		a, err := s.address()
		if err != nil {
			return err
		}
		tls := filepath.Join(filepath.Dir(s.path), "tls")
		acme := ""
		if s.acme {
			acme = acmeText(a.String(), tls)
		}
		text := fmt.Sprintf(configText, s.hostname, a.String(), filepath.Join(tls, "fullchain.pem"), filepath.Join(tls, "key.pem"), domainText(s.domain, s.mailboxes), acme)
		if err := s.replaceConfig([]byte(text)); err != nil {
			return err
		}
		s.say("wrote %s", s.path)
	default:
		if err := s.addToConfig(); err != nil {
			return err
		}
	}
	var err error
	s.cfg, err = config.Read(s.path)
	return err
}

// addToConfig adds the domain, and [acme], where the configuration has them not.
func (s *setup) addToConfig() error {
	more, what := "", []string{}
	if s.newDomain() {
		more, what = "\n"+domainText(s.domain, s.mailboxes), append(what, fmt.Sprintf("[domains.%q]", s.domain))
	}
	if s.acme && s.cfg.ACME.Email == "" {
		more, what = more+"\n"+acmeText(s.cfg.PostmasterAddress().String(), filepath.Dir(s.cfg.TLS.Certificate)), append(what, "[acme]")
	}
	if more == "" {
		s.say("kept %s", s.path)
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	if err := s.replaceConfig(append(text, more...)); err != nil {
		return err
	}
	s.say("added %s to %s", strings.Join(what, " and "), s.path)
	return nil
}

// replaceConfig puts a text in the configuration's place, unless it has a fault: then the old one stays.
func (s *setup) replaceConfig(text []byte) error {
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	trial := filepath.Join(dir, ".posthouse.toml.new") // beside the other: include is relative
	if err := os.WriteFile(trial, text, 0o644); err != nil {
		return err
	}
	_, err := config.Read(trial)
	if err = errors.Join(err, os.Remove(trial)); err != nil {
		return err
	}
	return putFile(s.path, text, 0o644)
}

// putFile puts a file in place, in one step that lasts. Owner and mode of one that is there stay.
func putFile(path string, text []byte, mode fs.FileMode) error {
	opts := []renameio.Option{renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode)}
	old, err := os.Stat(path)
	if err == nil {
		opts = []renameio.Option{renameio.WithTempDir(filepath.Dir(path)), renameio.WithExistingPermissions()}
	}
	f, err := renameio.NewPendingFile(path, opts...)
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // does nothing after the rename
	if old != nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return fmt.Errorf("keep the owner of %s: %w", path, err)
			}
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.OS{}.SyncDir(filepath.Dir(path))
}
