package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// newDKIM is `posthouse dkim`: the keys that sign.
func newDKIM() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dkim",
		Short: "Look after the keys that sign mail",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("dkim: no command given") },
	}
	cmd.AddCommand(newKeygen(), newDKIMCheck())
	return cmd
}

func newKeygen() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen DOMAIN",
		Short: "Make a key for a domain, and print the record that DNS is to have",
		Args:  cobra.ExactArgs(1),
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	ed := cmd.Flags().Bool("ed25519", false, "an Ed25519 key, instead of RSA with 2048 bits")
	selector := cmd.Flags().String("selector", "", "the key's `NAME` below the domain (default: mail or ed, and the year)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *selector == "" {
			*selector = fmt.Sprintf("%s%d", map[bool]string{false: "mail", true: "ed"}[*ed], time.Now().Year())
		}
		return keygen(*path, args[0], *selector, *ed, cmd.OutOrStdout())
	}
	return cmd
}

func keygen(path, domain, selector string, ed bool, out io.Writer) error {
	cfg, err := config.Read(path)
	if err != nil {
		return coded(err)
	}
	for _, name := range []string{domain, selector} {
		if d, err := mta.ParseDomain(name); err != nil || d != name || strings.HasPrefix(d, "[") {
			return &codedError{exitUsage, fmt.Errorf("%q is no name: as in example.org, in small letters", name)}
		}
	}
	signer, text, err := sign.Generate(ed)
	if err != nil {
		return coded(err)
	}
	key := sign.Key{Domain: domain, Selector: selector, Signer: signer}
	record, err := key.Record()
	if err != nil {
		return coded(err)
	}
	file := layout.KeyFile(cfg, domain, selector)
	switch err := writeKey(file, text); {
	case errors.Is(err, fs.ErrExist):
		return &codedError{exitCantMake, fmt.Errorf("%s is there already, and stays; --selector NAME makes another key beside it", file)}
	case err != nil:
		return coded(err)
	}
	_, err = fmt.Fprintf(out, "; the private key is in %s\n; for DNS:\n%s. IN TXT %s\n; for posthouse.toml, once DNS has it:\n; [domains.%q]\n; dkim = [%q]\n",
		file, key.Name(), strings.Join(txtStrings(record), " "), domain, selector)
	return coded(err)
}

// writeKey makes a file that is not there yet, for the group of its folder. It is there as a whole or not at all: an empty one
// would be kept for ever.
func writeKey(file string, text []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if sys, ok := st.Sys().(*syscall.Stat_t); err == nil && ok {
		err = errors.Join(f.Chown(-1, int(sys.Gid)), f.Chmod(0o640))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil { // which a rename would replace
		return err
	}
	return durable.OS{}.SyncDir(dir)
}

// txtStrings cuts a record into the strings of a zone file: each holds 255 octets (RFC 1035 3.3).
func txtStrings(record string) []string {
	var list []string
	for part := range slices.Chunk([]byte(record), 255) {
		list = append(list, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(part))+`"`)
	}
	return list
}

func newDKIMCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare the keys of all domains with what DNS has of them",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return dkimCheck(cmd.Context(), *path, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func dkimCheck(ctx context.Context, path string, out, errOut io.Writer) error {
	cfg, err := config.Read(path)
	if err != nil {
		return coded(err)
	}
	var servers []string
	for _, s := range cfg.Outbound.Resolver {
		servers = append(servers, s.String())
	}
	r, err := dns.New(dns.Options{Servers: servers})
	if err != nil {
		return coded(err)
	}
	keys, bad := 0, 0
	for _, domain := range slices.Sorted(maps.Keys(cfg.Domains)) {
		for _, selector := range cfg.Domains[domain].DKIM {
			keys++
			if err := checkKey(ctx, r, cfg, domain, selector); err != nil {
				bad++
				fmt.Fprintf(errOut, "%s._domainkey.%s: %v\n", selector, domain, err)
				if line := keyLine(cfg, domain, selector); line != "" {
					fmt.Fprintf(errOut, "    %s\n", line)
				}
				continue
			}
			if _, err := fmt.Fprintf(out, "OK: %s._domainkey.%s\n", selector, domain); err != nil {
				return coded(err)
			}
		}
	}
	switch {
	case bad > 0:
		return &codedError{exitFound, fmt.Errorf("%s of %d cannot be verified by others", count(bad, "key"), keys)}
	case keys == 0:
		_, err = fmt.Fprintln(out, "no domain has keys: see domains.NAME.dkim in posthouse.toml(5)")
	}
	return coded(err)
}

// keyLine is the record that DNS should have of a key, "" where there is no key.
func keyLine(cfg *config.Config, domain, selector string) string {
	key, err := sign.Load(domain, selector, layout.KeyFile(cfg, domain, selector))
	if err != nil {
		return ""
	}
	record, err := key.Record()
	if err != nil {
		return ""
	}
	return rr{name: key.Name(), kind: "TXT", value: record}.line()
}

// errAsk is wrapped where DNS did not answer.
var errAsk = errors.New("DNS did not answer")

func checkKey(ctx context.Context, r *dns.Resolver, cfg *config.Config, domain, selector string) error {
	key, err := sign.Load(domain, selector, layout.KeyFile(cfg, domain, selector))
	if err != nil {
		return err
	}
	records, err := r.TXT(ctx, key.Name())
	switch {
	case dns.Permanent(err):
		return errors.New("DNS has no record of it")
	case err != nil:
		return fmt.Errorf("%w: %w", errAsk, err)
	case len(records) > 1:
		return fmt.Errorf("DNS has %d records, want one: verifiers may take either", len(records))
	}
	return key.Compare(records[0])
}
