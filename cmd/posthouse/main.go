// Posthouse is the operator's command: it checks the configuration, and looks after users and the queue.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/posthouse-mail/posthouse/mta/config"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command and returns its exit code: that of the error, or 64 where the command line is at fault.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) { // no fault of the command line: the output's, for instance
		err = coded(err)
	}
	var has interface{ ExitCode() int }
	var faults config.Errors
	switch known := errors.As(err, &has); {
	case known && errors.As(err, &faults):
		fmt.Fprintln(errOut, faults) // each line says where it belongs
		return has.ExitCode()
	case known:
		fmt.Fprintf(errOut, "posthouse: %s%s\n", printableLines(err.Error()), asRoot(has.ExitCode()))
		return has.ExitCode()
	}
	fmt.Fprintf(errOut, "posthouse: %s\nTry '%s --help'.\n", plain(err), cmd.CommandPath())
	return exitUsage
}
