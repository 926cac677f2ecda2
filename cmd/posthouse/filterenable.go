package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// maxFilterName is what mta/config and filters/host allow.
const maxFilterName = 64

func newFilterEnable() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enable NAME",
		Short: "Let a filter judge mail: writes its name into filters.enabled",
		Args:  cobra.ExactArgs(1),
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	before := cmd.Flags().String("before", "", "put it in front of the filter `NAME`; otherwise it is the last")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" || len(name) > maxFilterName {
			return &codedError{exitUsage, fmt.Errorf("%q is no filter's name: letters a to z, digits and hyphens, %d at most", name, maxFilterName)}
		}
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		program := filepath.Join(cfg.Filters.Directory, name)
		if st, err := os.Stat(program); err != nil {
			return &codedError{exitNoInput, fmt.Errorf("there is no filter %s in %s, which has %s: %w", name, cfg.Filters.Directory, programsIn(cfg.Filters.Directory), err)}
		} else if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
			return &codedError{exitNoInput, fmt.Errorf("%s is no program", program)}
		}
		file, text, err := config.EnableFilter(*path, name, *before)
		if errors.Is(err, config.ErrEnabled) {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is enabled already\n", name)
			return coded(err)
		}
		return rewriteEnabled(cmd, file, text, err)
	}
	return cmd
}

func newFilterDisable() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disable NAME",
		Short: "Let a filter judge mail no more: takes its name out of filters.enabled",
		Args:  cobra.ExactArgs(1),
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, text, err := config.DisableFilter(*path, args[0])
		if errors.Is(err, config.ErrNotEnabled) {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is not enabled\n", args[0])
			return coded(err)
		}
		return rewriteEnabled(cmd, file, text, err)
	}
	return cmd
}

// rewriteEnabled puts the new text in the file's place: where that is a link, at the link's end.
func rewriteEnabled(cmd *cobra.Command, file string, text []byte, err error) error {
	if err != nil {
		return coded(err)
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return coded(err)
	}
	if err := putFile(real, text, 0o644); err != nil {
		return coded(err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is rewritten; smtpd takes it up when it reads its configuration again: systemctl reload posthouse-smtpd\n", file)
	return coded(err)
}

// programsIn lists the filters that could be enabled.
func programsIn(dir string) string {
	all, err := os.ReadDir(dir)
	if err != nil || len(all) == 0 {
		return "none"
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return strings.Join(names, ", ")
}
