package userdb_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/userdb"
	"golang.org/x/sys/unix"
)

// What is wrong with the URL is said without what may be its password, wherever a slip has put that.
func TestBadURLsAreNotShown(t *testing.T) {
	for _, url := range []string{
		"postgres://posthouse:hun/ter2@db.test/mail",
		"postgres://posthouse:hun%zzter2@db.test/mail",
		"postgres:/posthouse:hunter2@db.test/mail",
		"postgresql//posthouse:hunter2@db.test:x/mail",
		"POSTGRES://posthouse:hunter2@db.test/mail",
		"mysql://posthouse:hunter2@db.test/mail",
		"host=db.test password = hunter2 port=x",
		"host=db.test password='hunter2 port=x",
		`host=db.test password='hun\'ter2' port=x`,
		"host=db.test port=hunter2",
		"host=db.test password=s hunter2",
		"postgres://posthouse@db.test/mail?hunter2",
		"host=db.test sslmode=hunter2",
		"host=db.test sslpassword=hunter2 port=x",
		"postgres://posthouse@db.test/mail?sslmode=hunter2",
		"postgres://posthouse:hunter2@db.test/mail?pool_max_conns=x",
		"hunter2",
	} {
		file := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(file, []byte(url+"\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		c := &config.Config{Users: config.Users{Driver: "postgres", Postgres: config.Postgres{URLFile: file, User: "SELECT $1"}}}
		if _, err := new(userdb.Opener).Open(c, directory.Options{}); err == nil {
			t.Errorf("%s: taken", url)
		} else if s := err.Error(); strings.Contains(s, "hun") || strings.Contains(s, "ter2") || !strings.HasPrefix(s, file+": ") {
			t.Errorf("%s: got %s", url, s)
		}
	}
}

// What the URL names is opened by the library, which would wait for a FIFO's writer.
func TestAURLThatNamesNoFileIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "a fifo"), filepath.Join(dir, "url")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"sslrootcert", "sslcert", "sslkey", "passfile", "servicefile"} {
		for _, text := range []string{
			"postgres://posthouse:hunter2@db.test/mail?sslmode=verify-full&" + key + "=" + url.QueryEscape(fifo),
			"postgres://posthouse:hunter2@db.test/mail?" + key + "=" + url.QueryEscape(fifo) + "&sslmode=verify-full",
			"host=db.test password=hunter2 sslmode=verify-full " + key + " = '" + fifo + "' dbname=mail",
		} {
			if err := os.WriteFile(file, []byte(text+"\n"), 0o640); err != nil {
				t.Fatal(err)
			}
			c := &config.Config{Users: config.Users{Driver: "postgres", Postgres: config.Postgres{URLFile: file, User: "SELECT $1"}}}
			if _, err := new(userdb.Opener).Open(c, directory.Options{}); err == nil || err.Error() != file+": "+fifo+" is a FIFO, not a regular file; allowed: a regular file, or a link to one" {
				t.Errorf("%s: got %v", text, err)
			}
		}
	}
}
