package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
)

func newMailboxDeliver(run mailboxRun) *cobra.Command {
	cmd := &cobra.Command{Use: "deliver ADDRESS", Short: "Put a message from standard input into a mailbox", Args: cobra.ExactArgs(1)}
	folder := cmd.Flags().String("folder", "", "put it into this `FOLDER`, which is made where it is missing")
	from := cmd.Flags().String("from", "", "the sender's `ADDRESS` for Return-Path; empty: <>")
	cmd.RunE = run(func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		all, err := boxes(cmd.Context(), cfg, args)
		if err != nil {
			return err
		}
		r := local.Request{Mailbox: all[0].Path, Login: all[0].User, Quota: all[0].Quota, Folder: *folder, MakeFolder: *folder != "", DeliveredTo: all[0].User}
		if *from != "" {
			if r.ReturnPath, err = mta.ParseAddress(*from); err != nil {
				return &codedError{exitData, fmt.Errorf("--from %s: %w", *from, err)}
			}
		}
		text, err := readMessage(cmd.InOrStdin(), int64(cfg.SMTPD.MaxMessageSize))
		if err != nil {
			return err
		}
		return putMessage(cmd.Context(), cmd.OutOrStdout(), cfg, r, text)
	})
	return cmd
}

// readMessage reads a message, without the line "From ..." of an mbox.
func readMessage(in io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte("From ")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	switch {
	case int64(len(text)) > limit:
		return nil, &codedError{exitData, fmt.Errorf("the message is larger than smtpd.max_message_size, %s", config.Size(limit))}
	case len(bytes.TrimSpace(text)) == 0:
		return nil, &codedError{exitData, errors.New("there is no message on standard input: posthouse mailbox deliver ADDRESS <FILE")}
	}
	return text, nil
}

// putMessage delivers, as the queue would, and so that the queue and pop3d can work with what it makes.
func putMessage(ctx context.Context, out io.Writer, cfg *config.Config, r local.Request, text []byte) error {
	defer unix.Umask(unix.Umask(0o007))
	owner, err := os.Stat(r.Mailbox)
	if err != nil {
		owner, err = os.Stat(cfg.Spool.Path)
	}
	var fsys durable.FS = durable.OS{}
	if err == nil {
		fsys = ownedBy(owner)
	}
	d := local.Deliverer{FS: fsys, Host: cfg.Hostname, Sync: local.SyncEach, Quotas: local.NewQuotas(fsys), QuotaBounces: true}
	if cfg.Mailboxes.Welcome != "" {
		if d.Welcome, err = local.ReadWelcome(cfg.Mailboxes.Welcome); err != nil {
			return err
		}
	}
	r.ID = mta.NewID(time.Now())
	r.Envelope, r.Content = &mta.Envelope{Size: int64(len(text))}, bytes.NewReader(text)
	o, receipt := d.Deliver(ctx, r)
	switch {
	case o.Status == mta.Failed:
		return &codedError{exitCantMake, fmt.Errorf("%s: %s: posthouse mailbox quota %s shows what counts", r.Login, o.Text, r.Login)}
	case o.Status != mta.Delivered:
		return coded(fmt.Errorf("%s: %w", r.Login, o.Cause))
	}
	_, err = fmt.Fprintf(out, "delivered to %s as %s\n", receipt.Dir, r.ID)
	return err
}
