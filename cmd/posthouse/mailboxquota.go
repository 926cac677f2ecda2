package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func newMailboxQuota(run mailboxRun) *cobra.Command {
	cmd := &cobra.Command{Use: "quota ADDRESS...", Short: "Show what mailboxes may hold and what is counted of them", Args: cobra.MinimumNArgs(1)}
	recount := cmd.Flags().Bool("recount", false, "count the messages, and write the quota file anew")
	set := cmd.Flags().String("set", "", "give the users this quota, a `SIZE` as in 2GB; 0 is any amount, and default what the configuration says")
	cmd.MarkFlagsMutuallyExclusive("set", "recount")
	cmd.RunE = run(func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		all, err := boxes(cmd.Context(), cfg, args)
		if err != nil {
			return err
		}
		if *set != "" {
			if err := setQuota(cmd.Context(), cfg, all, *set); err != nil {
				return err
			}
			if all, err = boxes(cmd.Context(), cfg, args); err != nil {
				return err
			}
		}
		for _, b := range all {
			if *recount {
				if err := recountBox(b); err != nil {
					return fmt.Errorf("mailbox of %s: %w", b.User, err)
				}
			}
			has, err := maildir.Measure(durable.OS{}, b.Path)
			if err != nil {
				return fmt.Errorf("mailbox of %s: %w", b.User, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", b.User, quotaLine(b, has.Counted))
		}
		return nil
	})
	return cmd
}

// setQuota writes users' quotas into the users file.
func setQuota(ctx context.Context, cfg *config.Config, all []box, size string) error {
	if size == "default" {
		size = ""
	} else if err := new(config.Size).UnmarshalText([]byte(size)); err != nil {
		return &codedError{exitUsage, fmt.Errorf("--set %w, or default", err)}
	}
	if err := inFile(cfg); err != nil {
		return err
	}
	return directory.Update(ctx, cfg.Users.File, func(l *directory.Lines) error {
		for _, b := range all {
			if err := l.Set(b.User, "quota", size); err != nil {
				return err
			}
		}
		return nil
	})
}

// quotaLine says what a mailbox may hold, what it does, and what the quota file says.
func quotaLine(b box, has maildir.Usage) string {
	line := fmt.Sprintf("%d messages, %d octets", has.Messages, has.Octets)
	if b.Quota == 0 {
		return line + ", no quota"
	}
	line += fmt.Sprintf(" of %s (%s)", config.Size(b.Quota), percent(has.Octets, b.Quota))
	switch said, ok, err := b.counter().Said(); {
	case err != nil:
		line += "; the quota file cannot be read: " + err.Error()
	case !ok:
		line += "; no count is kept yet, the next delivery makes one"
	case said != has:
		line += fmt.Sprintf("; the quota file says %d messages, %d octets: --recount mends it", said.Messages, said.Octets)
	}
	return line
}

// recountBox makes a quota file right. Root leaves it to whoever the mailbox belongs to.
func recountBox(b box) error {
	st, err := os.Stat(b.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if b.Quota == 0 { // a count of somebody else's is not ours to make
		return nil
	}
	counter := b.counter()
	counter.FS = ownedBy(st)
	_, err = counter.Recount()
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: posthouse mailbox repair --fix %s makes %s", err, b.User, filepath.Join(b.Path, "tmp"))
	}
	return err
}
