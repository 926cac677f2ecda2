package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// keptSecrets is how many secrets a rotation leaves: what the older ones have made still comes back.
const keptSecrets = 3

// newSRS is `posthouse srs`: the secrets for rewritten senders.
func newSRS() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "srs",
		Short: "Look after the secrets for rewritten senders",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("srs: no command given") },
	}
	cmd.AddCommand(newSRSRotate())
	return cmd
}

func newSRSRotate() *cobra.Command {
	cmd := &cobra.Command{Use: "rotate", Short: "Make a secret, and keep the last two for what comes back", Args: cobra.NoArgs}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		return coded(rotate(layout.SRSFile(cfg), cmd.OutOrStdout()))
	}
	return cmd
}

// rotate puts a new secret in front of the others.
func rotate(file string, out io.Writer) error {
	old, _, err := conffile.Read(file, sign.MaxSRSFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeKey(file, newSecret()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "made %s; reload posthouse-smtpd and posthouse-queue-runner\n", file)
		return err
	}
	if err == nil {
		_, err = sign.LoadSRS(file) // what it cannot read is not to be written over
	}
	if err != nil {
		return err
	}
	secrets := []string{strings.TrimSuffix(string(newSecret()), "\n")}
	for line := range strings.Lines(string(old)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && len(secrets) < keptSecrets {
			secrets = append(secrets, line)
		}
	}
	if err := putFile(file, []byte(strings.Join(secrets, "\n")+"\n"), 0o640); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s has a new secret and %s; reload posthouse-smtpd and posthouse-queue-runner\n", file, count(len(secrets)-1, "older one"))
	return err
}

// newSecret is one line of a file of secrets.
func newSecret() []byte {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return []byte(base64.StdEncoding.EncodeToString(b[:]) + "\n")
}

// srsSecret makes the first secret for rewritten senders.
func (s *setup) srsSecret() error {
	if !s.cfg.SRS.Enabled {
		return nil
	}
	file := layout.SRSFile(s.cfg)
	if _, err := os.Stat(file); err == nil {
		s.say("kept %s", file)
		return nil
	}
	if err := writeKey(file, newSecret()); err != nil {
		return err
	}
	if err := s.own(file); err != nil {
		return err
	}
	s.say("made %s", file)
	return nil
}

// srs looks whether the senders of forwards can be rewritten, where there may be some.
func (c *checker) srs() {
	if !c.cfg.SRS.Enabled {
		return
	}
	forwards := c.stored != nil
	for _, d := range c.cfg.Domains {
		forwards = forwards || d.Aliases != "" || d.CatchAll != ""
	}
	for _, u := range c.list {
		forwards = forwards || len(u.Forward) > 0
	}
	file := layout.SRSFile(c.cfg)
	switch s, err := sign.OpenSRS(file); {
	case errors.Is(err, fs.ErrPermission): // whoever asks may not know
	case err != nil:
		c.problems = append(c.problems, "srs.enabled: "+err.Error())
	case s == nil && forwards:
		c.warnings = append(c.warnings, fmt.Sprintf("srs.enabled: there is no secret in %s, so that what is forwarded to other hosts keeps its sender and SPF fails there: posthouse srs rotate makes one", file))
	}
}
