// Command deliver-local delivers one message as the user that it is for: into a Maildir, to a program, or as ~/.forward
// says; deliver-local(8) describes it. as-user starts it for queue-runner.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// maxHead bounds the line in front of the message.
const maxHead = 64 << 10

// options are those of the command line.
type options struct {
	pipe, program, explain, version, help bool
	mailbox                               string
	limit                                 time.Duration
	env, args                             []string
}

func main() { os.Exit(run(os.Args[1:])) }

func parse(args []string) (o options, flags *pflag.FlagSet, err error) {
	flags = pflag.NewFlagSet("deliver-local", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&o.pipe, "pipe", false, "deliver what comes on standard input, as ~/.forward says (as-user starts it so)")
	flags.BoolVar(&o.program, "program", false, "give what comes on standard input to `PROGRAM` [ARGUMENT]... (as-user starts it so)")
	flags.BoolVarP(&o.explain, "explain", "n", false, "say what would be done with mail to oneself, or to oneself+`EXTENSION`")
	flags.StringVar(&o.mailbox, "mailbox", "~/Maildir", "with -n: the `MAILDIR` of who has no ~/.forward")
	flags.DurationVar(&o.limit, "timeout", time.Minute, "with --program: how long it may take")
	flags.StringArrayVar(&o.env, "env", nil, "with --program: add `NAME=VALUE` to its environment")
	flags.BoolVar(&o.version, "version", false, "say the version and end")
	flags.BoolVarP(&o.help, "help", "h", false, "say this and end")
	err = flags.Parse(args)
	o.args = flags.Args()
	modes := 0
	for _, on := range []bool{o.pipe, o.program, o.explain} {
		if on {
			modes++
		}
	}
	if err == nil && !o.help && !o.version && (modes != 1 || o.program == (len(o.args) == 0) || o.pipe && len(o.args) > 0 || o.explain && len(o.args) > 1) {
		err = errors.New("one of -n [EXTENSION], --pipe, --program -- PROGRAM is wanted")
	}
	return o, flags, err
}

func run(args []string) int {
	o, flags, err := parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "deliver-local: %v\nTry 'deliver-local --help'.\n", err)
		return daemon.ExitUsage
	case o.help:
		fmt.Printf("Usage: deliver-local -n [EXTENSION]\n\n%s\nSee posthouse-deliver-local(8).\n", strings.ReplaceAll(flags.FlagUsages(), "[=true|false]", "             "))
		return 0
	case o.version:
		fmt.Printf("deliver-local (Posthouse) %s\n", daemon.Version())
		return 0
	case os.Getuid() == 0:
		fmt.Fprintln(os.Stderr, "deliver-local: it does nothing as root")
		return daemon.ExitUsage
	case o.explain:
		return explain(o)
	}
	signal.Ignore(syscall.SIGPIPE)
	syscall.Umask(0o077)
	outcome, targets := once(o, os.Stdin)
	r := asuser.ResultOf(outcome)
	r.Targets = targets
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return daemon.ExitIOError
	}
	return 0
}

// once reads a delivery and does it.
func once(o options, in io.Reader) (mta.Outcome, []asuser.Target) {
	r := bufio.NewReaderSize(in, maxHead)
	head, err := r.ReadSlice('\n')
	var d asuser.Delivery
	if err == nil {
		err = json.Unmarshal(head, &d)
	}
	if err != nil {
		return deferred("4.3.0", "the delivery was broken off", fmt.Errorf("read the delivery: %w", err)), nil
	}
	m, err := readLetter(r)
	if err != nil {
		out := deferred("4.3.0", "the delivery was broken off", fmt.Errorf("read the message: %w", err))
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) { // of the folder for temporary files
			out.Code, out.Enhanced, out.Text = 452, "4.3.1", "no space left for the message at the moment"
		}
		return out, nil
	}
	if m.size != d.Size {
		return deferred("4.3.0", "the delivery was broken off", fmt.Errorf("got %d of %d octets", m.size, d.Size)), nil
	}
	if o.program {
		return runProgram(context.Background(), o.args, append(environment(d), o.env...), "/", o.limit, m.reader()), nil
	}
	return self().deliver(context.Background(), d, m)
}

// explain says what a delivery would do.
func explain(o options) int {
	p := self()
	if u, err := user.Current(); err == nil {
		p.home, p.user = u.HomeDir, u.Username
	}
	extension := ""
	if len(o.args) == 1 {
		extension = o.args[0]
	}
	err := p.checkHome()
	var targets []asuser.Target
	var path string
	if err == nil {
		host, _ := os.Hostname()
		targets, path, err = p.targets(extension, host)
	}
	if err != nil {
		fmt.Printf("mail waits until this is mended:\n\t%v\n", err)
		return daemon.ExitConfig
	}
	if path == "" {
		path = "there is no ~/.forward"
	}
	fmt.Printf("%s: mail goes\n", path)
	for _, t := range targets {
		fmt.Printf("\t%s\n", p.describe(t, o.mailbox))
	}
	if len(targets) == 0 {
		fmt.Printf("\t%s\n", p.describe(asuser.Target{Kind: asuser.ToMailbox}, o.mailbox))
	}
	return 0
}

func (p person) describe(t asuser.Target, mailbox string) string {
	switch t.Kind {
	case asuser.ToAddress:
		return "to " + t.Value
	case asuser.ToMaildir:
		return "into the Maildir " + t.Value
	case asuser.ToProgram:
		argv, _ := words(t.Value)
		return fmt.Sprintf("to the program %q, without a shell, for %v at the most", argv, forwardTime)
	case asuser.ToNothing:
		return "nowhere: it is thrown away"
	}
	return "into the mailbox " + p.mailbox(mailbox)
}
