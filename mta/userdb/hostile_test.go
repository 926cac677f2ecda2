package userdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// Whoever writes to the database, what comes of it is a user, or a fault of that one that a line can say.
func rowsThatAreHostile(t *testing.T, s *mtatest.Postgres) {
	ctx, c, log := context.Background(), fresh(t, s, "hostile"), &mtatest.Log{}
	for _, q := range []struct{ query, want string }{
		{"SELECT repeat('x', 10000000) AS password WHERE $1 <> ''", "fault in the answer: for alice@here.test: "},
		{"SELECT repeat('x', 100000) AS password WHERE $1 <> ''", "column password: longer than"},
		{"SELECT '{PLAIN}x' AS password FROM generate_series(1, 1000000) WHERE $1 <> ''", "two rows"},
		{"SELECT '{PLAIN}x' AS password, '{PLAIN}y' AS password WHERE $1 <> ''", "two columns password"},
		{"SELECT 'x@far.test' || chr(13) || chr(10) || 'DATA' AS forward WHERE $1 <> ''", "column forward: control character"},
		{"SELECT '{PLAIN}x' || chr(10) || 'y' AS password WHERE $1 <> ''", "column password: control character"},
		{"SELECT chr(133) AS forward WHERE $1 <> ''", "column forward: control character"},
		{"SELECT '-5' AS quota WHERE $1 <> ''", "column quota"},
		{"SELECT '99999999999999999999' AS quota WHERE $1 <> ''", "column quota"},
		{"SELECT 'NaN'::float AS quota WHERE $1 <> ''", "column quota"},
		{"SELECT 'perhaps' AS disabled WHERE $1 <> ''", "column disabled"},
		{"SELECT '../../../etc@here.test' AS address WHERE $1 <> ''", "not whom the query was for"},
		{"SELECT 'alice@here.test/../..' AS address WHERE $1 <> ''", "column address"},
		{"SELECT 'alice@here.test' || chr(13) || chr(10) AS address WHERE $1 <> ''", "column address: control character"},
		{"SELECT '@' AS address WHERE $1 <> ''", "column address"},
		{"SELECT repeat('a@far.test,', 5900) AS forward WHERE $1 <> ''", "column forward"},
		{"SELECT '|/bin/sh' AS forward WHERE $1 <> ''", "column forward"},
		{"SELECT '/etc/passwd' AS forward WHERE $1 <> ''", "column forward"},
		{"SELECT '{PLAIN}a', 1 AS quota WHERE $1 <> ''", "unknown column"},
	} {
		c.Users.Postgres.User = q.query
		u, err := new(userdb.Opener).Open(c, directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Lookup(ctx, addr(t, "alice@here.test"))
		if err == nil || errors.Is(err, directory.ErrAway) || !strings.Contains(err.Error(), q.want) || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%.80s: got %v, want a fault with %q", q.query, err, q.want)
		}
	}
	for _, q := range []struct{ query, want string }{
		{"SELECT 'x@far.test' FROM generate_series(1, 1000000) WHERE $1 <> ''", "more than 10000 rows"},
		{"SELECT repeat('x', 1000000) FROM generate_series(1, 10000) WHERE $1 <> ''", "octets"},
		{"SELECT repeat('x', 10000000) WHERE $1 <> ''", "fault in the answer"},
	} {
		c.Users.Postgres.Alias = q.query
		u, err := new(userdb.Opener).Open(c, directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := userdb.Aliases(c, u).Alias(ctx, addr(t, "alice@here.test"))
		if !errors.Is(err, directory.ErrFault) || errors.Is(err, directory.ErrAway) || !strings.Contains(err.Error(), q.want) || len(got) > 0 {
			t.Errorf("%.80s: got %d targets and %v, want a fault with %q", q.query, len(got), err, q.want)
		}
	}
	if log.String() != "" {
		t.Errorf("it was said to be away:\n%s", log)
	}
}

// Each change of the settings opens a database anew; of the ones before nothing is left when nobody asks them.
func changesOfTheSettings(t *testing.T, s *mtatest.Postgres) {
	ctx, c := context.Background(), fresh(t, s, "changes")
	if err := os.WriteFile(c.Users.Postgres.URLFile, []byte(s.URL()+"&pool_max_conn_idle_time=10ms\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	alice, before := addr(t, "alice@here.test"), runtime.NumGoroutine()
	o := &userdb.Opener{}
	var first directory.Users
	for i := range 20 {
		c.Users.Postgres.User = fmt.Sprintf("SELECT * FROM mailbox WHERE address = $1 AND %d = %[1]d", i)
		u, err := o.Open(c, directory.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Lookup(ctx, alice); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = u
		}
	}
	few := func() error {
		if n := runtime.NumGoroutine(); n > before {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	}
	eventually(t, few)
	if _, err := first.Lookup(ctx, alice); err != nil {
		t.Errorf("a session that began before: %v", err)
	}
	eventually(t, few)
}
