package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

func schemeNames() string { return strings.ToLower(strings.Join(directory.Schemes(), ", ")) }

// storeFlags are how a password is to be stored.
type storeFlags struct {
	scheme  *string
	noScram *bool
}

// addStoreFlags adds --scheme, which takes the schemes' names in small letters, and --no-scram.
func addStoreFlags(cmd *cobra.Command) storeFlags {
	return storeFlags{
		cmd.Flags().String("scheme", strings.ToLower(directory.Argon2id), "`HOW` the password is stored: "+schemeNames()),
		cmd.Flags().Bool("no-scram", false, "store nothing beside that for a login by SCRAM-SHA-256"),
	}
}

// askVerifiers asks for a new password and makes what is stored of it.
func askVerifiers(cmd *cobra.Command, store storeFlags, a mta.Address) ([]string, error) {
	scheme := strings.ToUpper(*store.scheme)
	if !slices.Contains(directory.Schemes(), scheme) {
		return nil, &codedError{exitUsage, fmt.Errorf("--scheme: unknown scheme %q; allowed: %s", *store.scheme, schemeNames())}
	}
	schemes := []string{scheme}
	switch {
	case !*store.noScram && scheme != directory.Scram:
		schemes = append(schemes, directory.Scram)
	case *store.noScram && scheme == directory.Scram:
		return nil, &codedError{exitUsage, errors.New("--no-scram: nothing is left to store with that --scheme")}
	}
	password, err := askPassword(cmd, a)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, s := range schemes {
		v, err := directory.NewVerifier(s, password)
		if err != nil {
			return nil, &codedError{exitData, err}
		}
		all = append(all, v)
	}
	return all, nil
}

// askPassword asks twice on a terminal; from anything else it takes one line.
func askPassword(cmd *cobra.Command, a mta.Address) (string, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askTwice(cmd.Context(), f, cmd.ErrOrStderr(), a)
	}
	line, err := bufio.NewReader(io.LimitReader(in, directory.MaxPassword+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	if err != nil && len(line) == directory.MaxPassword+2 {
		return "", &codedError{exitData, fmt.Errorf("password is longer than %d octets", directory.MaxPassword)}
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		next := "it is the first line there"
		if cmd.Flags().Lookup("no-password") != nil {
			next += ", and with --no-password the user has none"
		}
		return "", &codedError{exitData, fmt.Errorf("no password on standard input: %s", next)}
	}
	return line, nil
}

// askTwice asks until there is a password, and the same twice.
func askTwice(ctx context.Context, tty *os.File, out io.Writer, a mta.Address) (string, error) {
	for {
		first, err := askOnce(ctx, tty, out, fmt.Sprintf("New password for %s: ", a))
		if err != nil {
			return "", err
		}
		if first == "" {
			fmt.Fprintln(out, "The password is empty. Once more, or Ctrl-C.")
			continue
		}
		second, err := askOnce(ctx, tty, out, "Again: ")
		if err != nil {
			return "", err
		}
		if first == second {
			return first, nil
		}
		fmt.Fprintln(out, "The two passwords differ. Once more, or Ctrl-C.")
	}
}

// askOnce reads a line without echo. A signal puts the terminal back before the program ends; the read that still waits
// then ends with it.
func askOnce(ctx context.Context, tty *os.File, out io.Writer, prompt string) (string, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	fmt.Fprint(out, prompt)
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := readHidden(tty)
		read <- result{line, err}
	}()
	defer fmt.Fprintln(out)
	select {
	case r := <-read:
		if errors.Is(r.err, io.EOF) {
			return "", errNoAnswer
		}
		if r.err != nil {
			return "", fmt.Errorf("read password: %w", r.err)
		}
		return r.line, nil
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return "", &codedError{exitTemporary, errors.New("interrupted; nothing was changed")}
	}
}

// readHidden reads a line that the terminal does not show; io.EOF at its end, or for Ctrl-D, where term.ReadPassword goes on
// reading.
func readHidden(tty *os.File) (string, error) {
	fd := int(tty.Fd())
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	hidden := *shown
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, shown) }()
	line, err := bufio.NewReader(tty).ReadString('\n') // the terminal gives a line at a time: none of the next is taken
	return strings.TrimSuffix(line, "\n"), err
}
