package userdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// The passwords are "secret": crypt(3) made the one, we the other.
const schema = `
CREATE TABLE mailbox (address TEXT PRIMARY KEY, password TEXT, quota BIGINT, forward TEXT, send_as TEXT, disabled BOOLEAN DEFAULT false);
CREATE TABLE alias (address TEXT, target TEXT);
INSERT INTO mailbox VALUES
 ('alice@here.test', '$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1', 1000, NULL, 'team@here.test,@project.test', false),
 ('bob@here.test', '{PLAIN}secret', NULL, 'bob@here.test,bob@far.test', '', false),
 ('carol@here.test', '{PLAIN}secret', NULL, NULL, NULL, true),
 ('dave@here.test', NULL, NULL, NULL, NULL, false),
 ('o''brien";--@here.test', '{PLAIN}secret', NULL, NULL, NULL, false),
 ('xn@xn--bcher-kva.test', '{PLAIN}secret', NULL, NULL, NULL, false),
 ('bad@here.test', 'not a verifier', NULL, NULL, NULL, false),
 ('worse@here.test', '{PLAIN}secret', -5, NULL, NULL, false);
INSERT INTO alias VALUES ('team@here.test', 'alice'), ('team@here.test', 'bob@here.test, x@far.test'), ('empty@here.test', NULL);
`

var queries = config.Postgres{
	User:  "SELECT * FROM mailbox WHERE address = $1",
	Alias: "SELECT target FROM alias WHERE address = $1 ORDER BY target",
	List:  "SELECT address FROM mailbox ORDER BY address",
}

// fresh is a configuration of users in a new database with the schema in it.
func fresh(t *testing.T, s *mtatest.Postgres, name string) *config.Config {
	t.Helper()
	s.Use(t, name)
	s.Exec(t, schema)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(s.URL()+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	q := queries
	q.URLFile = file
	return &config.Config{Hostname: "here.test", Users: config.Users{Driver: "postgres", Postgres: q}}
}

func TestPostgres(t *testing.T) {
	s := mtatest.StartPostgres(t)
	t.Run("users", func(t *testing.T) { usersOfADatabase(t, s) })
	t.Run("wrong queries", func(t *testing.T) { queriesThatAreWrong(t, s) })
	t.Run("altered", func(t *testing.T) { aTableThatIsAltered(t, s) })
	t.Run("hostile rows", func(t *testing.T) { rowsThatAreHostile(t, s) })
	t.Run("changes", func(t *testing.T) { changesOfTheSettings(t, s) })
	t.Run("away", func(t *testing.T) { aDatabaseThatGoesAway(t, s) })
	t.Run("hangs", func(t *testing.T) { aDatabaseThatHangs(t, s) })
}

func addr(t *testing.T, s string) mta.Address {
	t.Helper()
	a, err := mta.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// attempt is a login, and the address that it gives; "": none.
type attempt struct{ login, password, want string }

func wantLogins(t *testing.T, u directory.Users, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		if got, err := u.Authenticate(context.Background(), a.login, a.password); got != a.want || (a.want == "") != errors.Is(err, mta.ErrCredentials) {
			t.Errorf("%s with %q: got %q, %v", a.login, a.password, got, err)
		}
	}
}

func usersOfADatabase(t *testing.T, s *mtatest.Postgres) {
	ctx := context.Background()
	o, c := &userdb.Opener{}, fresh(t, s, "users")
	u, err := o.Open(c, directory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ address, want string }{
		{"Alice@HERE.test", "alice@here.test quota=1000 forward=[] send_as=[team@here.test @project.test] schemes=[SHA512-CRYPT]"},
		{"bob@here.test", "bob@here.test quota=-1 forward=[bob@here.test bob@far.test] send_as=[] schemes=[PLAIN]"},
		{"dave@here.test", "dave@here.test quota=-1 forward=[] send_as=[] schemes=[]"},
		{`"o'brien\";--"@here.test`, `"o'brien\";--"@here.test quota=-1 forward=[] send_as=[] schemes=[PLAIN]`},
		{"nobody@here.test", "no such user"},
		{"%@here.test", "no such user"},
		{"bad@here.test", "column password: neither {SCHEME}verifier"},
		{"worse@here.test", "column quota: "},
	} {
		got := ""
		if v, err := u.Lookup(ctx, addr(t, q.address)); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprintf("%s quota=%d forward=%v send_as=%v schemes=%v", v.Address, v.Quota, v.Forward, v.SendAs, v.Schemes)
		}
		if !strings.Contains(got, q.want) {
			t.Errorf("%s: got %s, want %s", q.address, got, q.want)
		}
	}
	wantLogins(t, u, []attempt{
		{"alice@here.test", "secret", "alice@here.test"},
		{"ALICE@here.test", "secret", "alice@here.test"},
		{"alice@here.test", "Secret", ""},
		{"carol@here.test", "secret", ""},
		{"dave@here.test", "", ""},
		{"nobody@here.test", "secret", ""},
		{"no address", "secret", ""},
	})
	aliases := userdb.Aliases(c, u)
	for address, want := range map[string]string{"team@here.test": "[alice bob@here.test, x@far.test]", "empty@here.test": "[]", "alice@here.test": "[]"} {
		if got, err := aliases.Alias(ctx, addr(t, address)); err != nil || fmt.Sprint(got) != want {
			t.Errorf("alias %s: got %v, %v, want %s", address, got, err, want)
		}
	}
	all, err := o.All(ctx, c)
	if len(all) != 6 || err == nil || strings.Count(err.Error(), "column") != 2 {
		t.Errorf("got %d users and %v, want 6 and the faults of two", len(all), err)
	}
	s.Exec(t, "INSERT INTO mailbox SELECT 'b' || n || '@here.test', 'not a verifier' FROM generate_series(1, 30) AS n")
	if all, err := o.All(ctx, c); len(all) != 6 || err == nil || strings.Count(err.Error(), "column") != 20 || !strings.Contains(err.Error(), "12 more users") {
		t.Errorf("got %d users and %v, want 6, and not the faults of all others", len(all), err)
	}
	// A change is seen at once.
	s.Exec(t, "UPDATE mailbox SET disabled = true WHERE address = 'bob@here.test'")
	if _, err := u.Authenticate(ctx, "bob@here.test", "secret"); !errors.Is(err, mta.ErrCredentials) {
		t.Errorf("bob may log in still: %v", err)
	}
}

// What a query may not do, and answers that are none.
func queriesThatAreWrong(t *testing.T, s *mtatest.Postgres) {
	ctx, c := context.Background(), fresh(t, s, "wrong")
	for _, q := range []struct{ query, want string }{
		{"UPDATE mailbox SET quota = 7 WHERE address = $1 RETURNING address", "read"},
		{"SELECT * FROM mailbox WHERE address LIKE '%' OR address = $1", "two rows"},
		{"SELECT 'carol@here.test' AS address, '{PLAIN}x' AS password WHERE $1 <> ''", "not whom the query was for"},
		{"SELECT shell FROM mailbox WHERE address = $1", "shell"},
		{"SELECT 'x' AS shell WHERE $1 <> ''", "unknown column \"shell\""},
		{"SELECT REPLACE(HEX, '0', 'xxxxxxxxxx') AS forward FROM (SELECT '" + strings.Repeat("0", 4000) + "' AS HEX) AS a WHERE $1 <> ''", "longer than"},
		{"SELECT 7 AS id, '{PLAIN}x' AS password WHERE $1 = ''", "unknown column \"id\""}, // of nobody, so that a check sees it
		{"SELECT '{PLAIN}a' || chr(10) || 'b' AS password WHERE $1 <> ''", ""},
	} {
		c.Users.Postgres.User = q.query
		u, err := new(userdb.Opener).Open(c, directory.Options{})
		if err != nil {
			t.Fatal(err)
		}
		switch _, err = u.Lookup(ctx, addr(t, "alice@here.test")); {
		case err == nil, errors.Is(err, directory.ErrUnknown):
			t.Errorf("%.80s: got %v, want a fault", q.query, err)
		case !strings.Contains(err.Error(), q.want) || strings.Contains(err.Error(), "secret"):
			t.Errorf("%.80s: got %v, want %q in it", q.query, err, q.want)
		}
	}
}

// What the database cannot do with one address says nothing of the others; and a table that is altered is there.
func aTableThatIsAltered(t *testing.T, s *mtatest.Postgres) {
	ctx, c, log := context.Background(), fresh(t, s, "altered"), &mtatest.Log{}
	for _, q := range []struct{ query, address string }{
		{queries.User, "alice@here.test"},
		{"SELECT * FROM mailbox WHERE address = $1 AND 1 / (length($1) - 14) > 0", "zero@here.test"},
		{"SELECT * FROM mailbox WHERE address = (SELECT address FROM mailbox WHERE $1 <> '')", "alice@here.test"},
	} {
		c.Users.Postgres.User = q.query
		u, err := new(userdb.Opener).Open(c, directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Lookup(ctx, addr(t, q.address))
		if q.query != queries.User {
			if !errors.Is(err, directory.ErrFault) || errors.Is(err, directory.ErrAway) {
				t.Errorf("%s: got %v, want a fault", q.query, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Exec(t, "ALTER TABLE mailbox DROP COLUMN send_as")
		if _, err := u.Lookup(ctx, addr(t, q.address)); err != nil {
			t.Errorf("a column less: %v", err)
		}
	}
	if log.Count("users-away") > 0 {
		t.Error("it was said to be away")
	}
}

// A database that is away says nothing of who exists, and is found again.
func aDatabaseThatGoesAway(t *testing.T, s *mtatest.Postgres) {
	log := &mtatest.Log{}
	u, err := new(userdb.Opener).Open(fresh(t, s, "away"), directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, alice := context.Background(), addr(t, "alice@here.test")
	if _, err := u.Lookup(ctx, alice); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for range 3 {
		if _, err := u.Lookup(ctx, alice); !errors.Is(err, directory.ErrAway) {
			t.Errorf("got %v, want ErrAway", err)
		}
	}
	if _, err := u.Authenticate(ctx, "alice@here.test", "secret"); !errors.Is(err, directory.ErrAway) {
		t.Errorf("a login: got %v, want ErrAway", err)
	}
	s.Start(t)
	eventually(t, func() error { _, err := u.Lookup(ctx, alice); return err })
	if away, back := log.Count("users-away"), log.Count("users-back"); away != 1 || back != 1 {
		t.Errorf("users-away %d times and users-back %d, want once", away, back)
	}
	// Who asks and does not wait for the answer says nothing of the database.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := u.Lookup(gone, alice); !errors.Is(err, context.Canceled) || log.Count("users-away") != 1 {
		t.Errorf("got %v", err)
	}
}

// Nobody waits for a database that hangs, when some have, and that it goes on is seen though nobody asks.
func aDatabaseThatHangs(t *testing.T, s *mtatest.Postgres) {
	log := &mtatest.Log{}
	u, err := new(userdb.Opener).Open(fresh(t, s, "hangs"), directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
	if err != nil {
		t.Fatal(err)
	}
	unlock := s.Lock(t, "mailbox")
	look := func() error { _, err := u.Lookup(context.Background(), addr(t, "alice@here.test")); return err }
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := look(); !errors.Is(err, directory.ErrAway) {
				t.Errorf("got %v, want ErrAway", err)
			}
		})
	}
	all.Wait()
	if err := look(); !errors.Is(err, directory.ErrAway) || !strings.Contains(err.Error(), "3 questions have had no answer") {
		t.Errorf("got %v, want that nobody is asked", err)
	}
	unlock()
	eventually(t, func() error {
		if log.Count("users-back") == 0 {
			return errors.New("it is not back: " + log.String())
		}
		return nil
	})
	if err := look(); err != nil || log.Count("users-away") != 1 || log.Count("users-back") != 1 {
		t.Errorf("got %v, and in the log\n%s", err, log)
	}
}

func eventually(t *testing.T, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
