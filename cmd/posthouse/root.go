package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// exitUsage is the exit code of a wrong command line: sysexits(3).
const exitUsage = 64

// newRoot is the command without arguments: it has the others under it.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "posthouse",
		Short:         "Check and run a Posthouse mail system",
		Version:       fmt.Sprintf("%s %s", daemon.Version(), runtime.Version()),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("no command given")
		},
	}
	root.SetVersionTemplate("posthouse (Posthouse) {{.Version}}\n")
	root.AddCommand(
		newCheck(),
		newUser(),
		newMailbox(),
		newQueue(),
		newFilter(),
		newDKIM(),
		newSRS(),
		newExplain(),
		newDMARC(),
		newFolders(),
		newSetup(),
		newCert(),
		newTrace(),
		newStatus(),
	)
	root.InitDefaultCompletionCmd("completion") // also where the command line is another
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.RunE = func(*cobra.Command, []string) error { return fmt.Errorf("completion: no command given") }
		}
	}
	root.SetHelpFunc(help)
	wellMannered(root)
	return root
}
