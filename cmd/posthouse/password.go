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
	"golang.org/x/term"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// schemeFlag adds --scheme, which takes the schemes' names in small letters.
func schemeFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("scheme", strings.ToLower(directory.Argon2id), "how the password is stored: "+schemeNames())
}

func schemeNames() string { return strings.ToLower(strings.Join(directory.Schemes(), ", ")) }

// askVerifier asks for a new password and hashes it.
func askVerifier(cmd *cobra.Command, scheme string, a mta.Address) (string, error) {
	stored := strings.ToUpper(scheme)
	if !slices.Contains(directory.Schemes(), stored) {
		return "", &codedError{exitUsage, fmt.Errorf("--scheme: unknown scheme %q; allowed: %s", scheme, schemeNames())}
	}
	password, err := askPassword(cmd, a)
	if err != nil {
		return "", err
	}
	v, err := directory.NewVerifier(stored, password)
	if err != nil {
		return "", &codedError{exitData, err}
	}
	return v, nil
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
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func askTwice(ctx context.Context, tty *os.File, out io.Writer, a mta.Address) (string, error) {
	first, err := askOnce(ctx, tty, out, fmt.Sprintf("New password for %s: ", a))
	if err != nil {
		return "", err
	}
	second, err := askOnce(ctx, tty, out, "Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", &codedError{exitData, errors.New("the two passwords differ; nothing was changed")}
	}
	return first, nil
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
		line []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- result{line, err}
	}()
	defer fmt.Fprintln(out)
	select {
	case r := <-read:
		if r.err != nil {
			return "", fmt.Errorf("read password: %w", r.err)
		}
		return string(r.line), nil
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return "", &codedError{exitTemporary, errors.New("interrupted; nothing was changed")}
	}
}
