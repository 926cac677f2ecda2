package e2e_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"testing"
)

// format is a kind of file that outlives the program that wrote it.
type format struct {
	path  string // a pattern
	later string // what becomes of a later version's: the rule
	data  bool   // every data set since the table holds one
}

// formats are all that the programs leave behind. Who adds a kind of file adds it here, says by which rule an earlier version
// reads it, and has leaveMail make one.
var formats = []format{
	{`posthouse\.toml|filters\.d/\w+\.toml`, "an unknown key is refused with its line", true},
	{`users`, "an unknown key is refused with its line", true},
	{`aliases`, "an operator's file, written by nobody else", true},
	{`spool/incoming/\w+\.seg`, "header v, envelope v: skipped, and kept", true},
	{`spool/journal/\w+\.seg`, "header v: queue-runner does not start", true},
	{`spool/deferred/../\w+`, "footer and envelope v: skipped, and kept", true},
	{`spool/deferred/../\w+\.log`, "fields are passed over; what would be misread raises the number in lock", true},
	{`spool/large/\w+`, "octets", true},
	{`spool/tmp/.+`, "never read by another process", false},
	{`spool/lock`, "a number: queue-runner does not start", true},
	{`spool/trigger`, "a FIFO", false},
	{`state/smtpd/rates\.json`, "v: begun anew", true},
	{`state/queue/mta-sts/[\w.-]+`, "fields are passed over; what is no policy is fetched anew", true},
	{`state/queue/tls/\d{4}-\d\d-\d\d\.json|state/queue/tls/history\.json`, "fields are passed over; what cannot be read is begun anew", true},
	{`state/queue/tls/\d{4}-\d\d-\d\d\.sent`, "a domain a line", false}, // is written a day later
	{`state/filters/dmarc/\d{4}-\d\d-\d\d\.rows`, "fields are passed over, and lines that cannot be read", true},
	{`state/filters/dmarc/\d{4}-\d\d-\d\d\.sent`, "a domain a line, with its addresses", false}, // is written a day later
	{`state/filters/greylist/triplets\.db`, "what has another length is unknown", true},
	{`state/keys/srs`, "a secret a line", true},
	{`state/keys/[\w.-]+\.pem`, "PKCS #8", false},                                                              // as OpenSSL writes it
	{`state/acme/(account\.json|lock|[^/]+/(key\.pem|fullchain\.pem|state\.json))`, "version: refused", false}, // needs an authority: mta/acme
	{`mail/.+/(new|cur)/[^/]+`, "Maildir, which has no version", true},
	{`mail/.+/tmp/[^/]+`, "never read by another process", false},
	{`mail/.+/maildirsize`, "Maildir++; what cannot be read is counted anew", true},
	{`mail/.+/maildirfolder`, "empty", false},
	{`mail/.+/posthouse-pop3\.lock`, "empty", true},
	{`mail/.+/posthouse-pop3\.lease`, "of a session that runs", false},
	{`mail/.+/posthouse-pop3\.cache`, "the first line: begun anew", true},
	{`mail/.+/posthouse-pop3\.uidl`, "the first line: UIDL is refused", true},
	{`mail/.+/(dovecot-uidlist|courierpop3dsizelist)`, "of others, and only read", true},
	{`mail/.+/subscriptions`, "of others, and left alone", false},
	{`run/.+`, "gone with the machine, and of one version in a package's life", false},
	{`programs/.+|note\.json`, "of this test", false},
}

// knownFiles holds what is in the instance's folder against the table, and tells which rows it has.
func (i *instance) knownFiles(t *testing.T) (rows map[string]bool) {
	t.Helper()
	rows = map[string]bool{}
	err := filepath.WalkDir(i.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(i.dir, path)
		if err != nil {
			return err
		}
		known := false
		for _, f := range formats {
			if regexp.MustCompile(`^(` + f.path + `)$`).MatchString(rel) {
				rows[f.path], known = true, true
			}
		}
		if !known {
			t.Errorf("%s is in no row of the table of formats: say what an earlier version makes of it, and have the data hold one", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// wantAllFormats holds a data set against the table.
func (i *instance) wantAllFormats(t *testing.T) {
	t.Helper()
	rows := i.knownFiles(t)
	for _, f := range formats {
		if f.data && !rows[f.path] {
			t.Errorf("the data have no %s", f.path)
		}
	}
}
