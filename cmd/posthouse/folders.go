package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// newFolders is `posthouse folders`: what systemd-tmpfiles does, where there is no systemd.
func newFolders() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "folders",
		Short: "Make the folders of an installed system that are missing",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	fix := cmd.Flags().Bool("fix", false, "also give folders, and files with secrets, the owner and mode that they should have")
	tmpfiles := cmd.Flags().Bool("tmpfiles", false, "make nothing; print the folders as tmpfiles.d(5) takes them")
	sysusers := cmd.Flags().Bool("sysusers", false, "make nothing; print the users and groups as sysusers.d(5) takes them")
	cmd.MarkFlagsMutuallyExclusive("fix", "tmpfiles", "sysusers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out := cmd.OutOrStdout()
		if *sysusers {
			_, err := io.WriteString(out, layout.Sysusers())
			return coded(err)
		}
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		if *tmpfiles {
			_, err := io.WriteString(out, layout.Tmpfiles(cfg))
			return coded(err)
		}
		if err := usersThere(); err != nil {
			return err
		}
		return coded(makeFolders(out, layout.Of(cfg), *fix))
	}
	return cmd
}

// usersThere says what is missing for folders to have owners.
func usersThere() error {
	if missing := layout.Missing(); len(missing) > 0 {
		return &codedError{exitConfig, fmt.Errorf("the system has no %s: make users and groups with systemd-sysusers, or by hand as posthouse folders --sysusers lists them",
			strings.Join(missing, ", "))}
	}
	return nil
}

// makeFolders makes what is missing and says so. What differs is mended with fix, and otherwise told.
func makeFolders(out io.Writer, all []layout.Entry, fix bool) error {
	left := 0
	for _, e := range all {
		made, err := e.Make()
		if err != nil {
			return err
		}
		if made {
			if _, err := fmt.Fprintf(out, "made %s (%s:%s %s)\n", e.Path, e.Owner, e.Group, layout.Octal(e.Mode)); err != nil {
				return err
			}
			continue
		}
		more, err := inside(out, e, fix)
		if err != nil {
			return err
		}
		left += more
		err = e.Check()
		switch {
		case err == nil, e.File && errors.Is(err, fs.ErrNotExist):
			continue
		case !errors.Is(err, layout.ErrDiffers):
			return err
		}
		what := "left"
		if fix {
			if err := e.Mend(); err != nil {
				return err
			}
			what = "mended"
		} else {
			left++
		}
		if _, err := fmt.Fprintf(out, "%s: %v\n", what, err); err != nil {
			return err
		}
	}
	if left > 0 {
		return &codedError{exitFound, fmt.Errorf("%s with another owner or mode; --fix changes them", count(left, "path"))}
	}
	return nil
}

// inside mends or tells what is below a folder and belongs to a stranger; it returns how many are left.
func inside(out io.Writer, e layout.Entry, fix bool) (left int, err error) {
	n, first, err := e.Inside(fix)
	if err != nil || n == 0 {
		return 0, err
	}
	what := "left"
	if fix {
		what = "mended"
	} else {
		left = n
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", what, strangers(e, n, first))
	return left, err
}

func strangers(e layout.Entry, n int, first string) string {
	return fmt.Sprintf("%s below %s not owned by %s, as %s", count(n, "path"), e.Path, e.Owner, first)
}
