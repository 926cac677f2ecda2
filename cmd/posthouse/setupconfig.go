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

// plan finds what the configuration is to be, a new one or the one that is there with the domain added, and reads it.
func (s *setup) plan(fresh bool) error {
	if !fresh {
		return s.planMore()
	}
	a, err := s.address()
	if err != nil {
		return err
	}
	tls := filepath.Join(filepath.Dir(s.path), "tls")
	acme := ""
	if s.acme {
		acme = acmeText(a.String(), tls)
	}
	s.done = "wrote " + s.path
	return s.try(fmt.Appendf(nil, configText, s.hostname, a.String(), filepath.Join(tls, "fullchain.pem"), filepath.Join(tls, "key.pem"), domainText(s.domain, s.mailboxes), acme))
}

// planMore adds the domain, and [acme], where the configuration has them not.
func (s *setup) planMore() error {
	more, what := "", []string{}
	if s.newDomain() {
		more, what = "\n"+domainText(s.domain, s.mailboxes), append(what, fmt.Sprintf("[domains.%q]", s.domain))
	}
	if s.acme && s.cfg.ACME.Email == "" {
		more, what = more+"\n"+acmeText(s.cfg.PostmasterAddress().String(), filepath.Dir(s.cfg.TLS.Certificate)), append(what, "[acme]")
	}
	if more == "" {
		s.done = "kept " + s.path
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	s.added = true
	s.done = fmt.Sprintf("added %s to %s", strings.Join(what, " and "), s.path)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return s.try(append(text, more...))
}

// try reads a text as the configuration; with a fault it is not to be.
func (s *setup) try(text []byte) error {
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	trial := filepath.Join(dir, ".posthouse.toml.new") // beside the other: include is relative
	if err := os.WriteFile(trial, text, 0o644); err != nil {
		return err
	}
	cfg, err := config.Read(trial)
	var faults config.Errors
	if errors.As(err, &faults) {
		for i := range faults {
			if faults[i].File == trial {
				faults[i].File = s.path + ", as setup would write it"
			}
		}
	}
	if err = errors.Join(err, os.Remove(trial)); err != nil {
		return err
	}
	s.text, s.cfg = text, cfg
	return nil
}

// writeConfig puts the planned configuration in place.
func (s *setup) writeConfig() error {
	if s.text != nil {
		if err := putFile(s.path, s.text, 0o644); err != nil {
			return err
		}
	}
	s.say("%s", s.done)
	return nil
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
