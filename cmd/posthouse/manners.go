package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// wellMannered gives a command and those below it one manner of help and of errors.
func wellMannered(cmd *cobra.Command) {
	if cmd.Args != nil {
		cmd.Args = argumentErrors(cmd.Args)
	}
	cmd.SuggestionsMinimumDistance = 2
	for _, sub := range cmd.Commands() {
		wellMannered(sub)
	}
}

// argumentErrors says what is missing or too much as the help shows it.
func argumentErrors(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		_, want, _ := strings.Cut(cmd.Use, " ")
		switch {
		case cmd.HasSubCommands():
			err := fmt.Sprintf("unknown command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err += "; is it " + strings.Join(near, " or ") + "?"
			}
			return errors.New(err)
		case want == "":
			return fmt.Errorf("unexpected argument %q: there is none to '%s'", args[0], cmd.CommandPath())
		}
		return fmt.Errorf("wrong number of arguments: it is '%s %s'", cmd.CommandPath(), want)
	}
}

var (
	exclusive = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.+)\] were all set$`)
	together  = regexp.MustCompile(`^if any flags in the group \[(.+)\] are set they must all be set; missing \[(.+)\]$`)
)

// plain says in other words what cobra says of flags that do not go together.
func plain(err error) string {
	text := err.Error()
	options := func(s string) string { return "--" + strings.Join(strings.Fields(s), " and --") }
	if m := exclusive.FindStringSubmatch(text); m != nil {
		return options(m[1]) + " exclude each other"
	}
	if m := together.FindStringSubmatch(text); m != nil {
		return options(m[1]) + " go together: " + options(m[2]) + " is missing"
	}
	return text
}

// help is the page of --help: nobody needs to be told that an option may be given as --json=true.
func help(cmd *cobra.Command, _ []string) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s\nSee posthouse(8).\n", about, strings.ReplaceAll(cmd.UsageString(), "[=true|false]", strings.Repeat(" ", len("[=true|false]"))))
}

// asRoot is the next step where a file may not be read or written.
func asRoot(code int) string {
	if code == exitNoPerm && os.Geteuid() != 0 {
		return "\nTry it as root."
	}
	return ""
}
