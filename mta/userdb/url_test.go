package userdb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/userdb"
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
