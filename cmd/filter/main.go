// Command filter is the filters that come with Posthouse, all in one program: the name that it is started by says which one
// it is. smtpd starts it; posthouse-filters(7) describes them. Under its own name it is the half of `posthouse filter run` that
// speaks with filters.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/arc"
	"github.com/posthouse-mail/posthouse/filters/clamav"
	"github.com/posthouse-mail/posthouse/filters/dkim"
	"github.com/posthouse-mail/posthouse/filters/dmarc"
	"github.com/posthouse-mail/posthouse/filters/dnsbl"
	"github.com/posthouse-mail/posthouse/filters/exec"
	"github.com/posthouse-mail/posthouse/filters/greylist"
	"github.com/posthouse-mail/posthouse/filters/milter"
	"github.com/posthouse-mail/posthouse/filters/policy"
	"github.com/posthouse-mail/posthouse/filters/rspamd"
	"github.com/posthouse-mail/posthouse/filters/spamassassin"
	"github.com/posthouse-mail/posthouse/filters/spf"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// bundled are the filters by their names.
func bundled(version string) map[string]filters.Filter {
	return map[string]filters.Filter{
		"arc":          &arc.Filter{Version: version},
		"clamav":       &clamav.Filter{Version: version},
		"dkim":         &dkim.Filter{Version: version},
		"dnsbl":        &dnsbl.Filter{Version: version},
		"dmarc":        &dmarc.Filter{Version: version},
		"exec":         &exec.Filter{Version: version},
		"milter":       &milter.Filter{Version: version},
		"policy":       &policy.Filter{Version: version},
		"rspamd":       &rspamd.Filter{Version: version},
		"greylist":     &greylist.Filter{Version: version},
		"spamassassin": &spamassassin.Filter{Version: version},
		"spf":          &spf.Filter{Version: version},
	}
}

func main() {
	all := bundled(daemon.Version())
	name := filepath.Base(os.Args[0])
	f, ok := all[name]
	if !ok && strings.HasPrefix(name, "milter-") { // one of several, each with its own settings
		f, ok = &milter.Filter{Version: daemon.Version(), Name: name}, true
	}
	if !ok && len(os.Args) > 1 && os.Args[1] == "run" { // for posthouse filter run
		os.Exit(run(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if !ok {
		fmt.Fprintf(os.Stderr, "filter: started as %q; a link to it has one of the names %s, milter-NAME\n", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
		os.Exit(exitUsage)
	}
	filters.Serve(f)
}
