package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// fates are what the exit codes of the filters' half say, in words for standard error; 0 = taken.
var fates = map[int]string{
	1: "the message would be refused",
	2: "the message would be refused for now",
	3: "the message would be thrown away",
	4: "the message would be quarantined",
	5: "a filter has failed",
}

func newFilterRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run NAME... <MESSAGE",
		Short: "Put a message through filters without delivering it, and show what they make of it",
		Args:  cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	path := f.StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	f.StringP("from", "f", "", "the sender's `ADDRESS`, <> is nobody; otherwise that of the field Return-Path")
	f.StringArrayP("to", "t", nil, "a recipient's `ADDRESS`; otherwise postmaster")
	f.String("role", mta.RoleMX, "the `ROLE` of the listener: mx, submission, local or lmtp")
	f.String("client", "", "the client's `ADDRESS`, with or without a port")
	f.String("name", "", "the client's verified host `NAME`")
	f.String("helo", "", "the `NAME` of EHLO")
	f.String("login", "", "the address `LOGIN` has logged in")
	f.Bool("tls", false, "by TLS")
	f.String("directory", "", "the `FOLDER` of the filters; otherwise filters.directory")
	f.String("settings", "", "the `FOLDER` of their settings; otherwise filters.settings")
	f.Bool("json", false, "as JSON, with all that is known")
	f.BoolP("verbose", "v", false, "with the log of the filters, on standard error")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{mta.RoleMX, mta.RoleSubmission, mta.RoleLocal, mta.RoleLMTP}, cobra.ShellCompDirectiveNoFileComp)) // it fails for a flag that is not there
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return installedFilters(*path), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		return runFilters(cmd, cfg, names)
	}
	return cmd
}

// installedFilters are the names of the executables.
func installedFilters(path string) (names []string) {
	cfg, err := config.Read(path)
	if err != nil {
		return nil
	}
	list, err := os.ReadDir(cfg.Filters.Directory)
	if err != nil {
		return nil
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// runFilters starts the program that speaks with filters, as the user that smtpd has.
func runFilters(cmd *cobra.Command, cfg *config.Config, names []string) error {
	program, err := filterProgram()
	if err != nil {
		return &codedError{exitUnavailable, err}
	}
	args, err := passedOn(cmd)
	if err != nil {
		return coded(err)
	}
	x := exec.CommandContext(cmd.Context(), program, append([]string{"run"}, args...)...)
	if daemon.Private(cfg) {
		x.Args = append(x.Args, "--private")
	} else if os.Geteuid() == 0 {
		if err := asSMTPD(x); err != nil {
			return &codedError{exitNoUser, err}
		}
	}
	x.Args = append(append(x.Args, "--"), names...)
	x.Stdin, x.Stdout, x.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	var exit *exec.ExitError
	switch err = x.Run(); {
	case err == nil:
		return nil
	case errors.As(err, &exit) && fates[exit.ExitCode()] != "":
		return &codedError{exit.ExitCode(), errors.New(fates[exit.ExitCode()])}
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return &codedError{exit.ExitCode(), errors.New("the filters were not asked")}
	}
	return coded(err)
}

// passedOn are the flags that were set, as the other program has them.
func passedOn(cmd *cobra.Command) (args []string, err error) {
	set := cmd.Flags()
	for _, name := range []string{"from", "role", "client", "name", "helo", "login", "tls", "json", "verbose"} {
		if f := set.Lookup(name); f.Changed {
			args = append(args, "--"+name+"="+f.Value.String())
		}
	}
	for _, name := range []string{"config", "directory", "settings"} {
		text := set.Lookup(name).Value.String()
		if text == "" {
			continue
		}
		if text, err = filepath.Abs(text); err != nil {
			return nil, err
		}
		args = append(args, "--"+name+"="+text)
	}
	to, err := set.GetStringArray("to")
	for _, a := range to {
		args = append(args, "--to="+a)
	}
	return args, err
}

// filterProgram is beside this program, or where packages put it.
func filterProgram() (string, error) {
	const name = "filter"
	tried := []string{filepath.Join("/usr/lib/posthouse", name)}
	if self, err := os.Executable(); err == nil {
		tried = append([]string{filepath.Join(filepath.Dir(self), name)}, tried...)
	}
	for _, path := range tried {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s beside this one or in /usr/lib/posthouse", name)
}

// asSMTPD lets a program run with the user and the groups that smtpd has.
func asSMTPD(x *exec.Cmd) error {
	u, err := user.Lookup(layout.UserSMTPD)
	if err != nil {
		return err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return err
	}
	number := func(s string) (n uint64) {
		if err == nil {
			n, err = strconv.ParseUint(s, 10, 32)
		}
		return n
	}
	c := &syscall.Credential{Uid: uint32(number(u.Uid)), Gid: uint32(number(u.Gid))}
	for _, id := range ids {
		c.Groups = append(c.Groups, uint32(number(id)))
	}
	x.SysProcAttr, x.Dir = &syscall.SysProcAttr{Credential: c}, "/"
	return err
}
