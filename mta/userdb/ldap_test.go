package userdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

const login = "\ncn=posthouse,dc=example,dc=org\npa:ss word\n"

func ldapConfig() config.LDAP {
	return config.LDAP{Base: "dc=example,dc=org", StartTLS: true, User: "(&(objectClass=inetOrgPerson)(mail={address}))", Alias: "(mailAlternate={address})", Target: "mail",
		List: "(objectClass=inetOrgPerson)", Address: "mail", Quota: "mailQuota", Forward: "mailForward", SendAs: "mailSendAs", Disabled: "mailDisabled"}
}

// many is how many users there are beside those of the file: more than the server gives at once.
const many = 520

func startSlapd(t *testing.T) *mtatest.Slapd {
	t.Helper()
	users, err := os.ReadFile("testdata/users.ldif")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	all.Write(users)
	for i := range many {
		fmt.Fprintf(&all, "dn: uid=u%d,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u%d\ncn: U\nsn: U\nmail: u%d@example.org\n\n", i, i, i)
	}
	return mtatest.StartSlapd(t, all.String())
}

// open opens the directory by a URL, and its log.
func open(t *testing.T, s *mtatest.Slapd, url string, c config.LDAP) (*directory.Database, directory.Verifier, *mtatest.Log) {
	t.Helper()
	store, err := userdb.OpenLDAP(url+login, c, s.Certs.Pool)
	if err != nil {
		t.Fatal(err)
	}
	log := &mtatest.Log{}
	return directory.OpenDatabase("ldap", store, directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))}), store, log
}

func TestUsersInLDAP(t *testing.T) {
	s := startSlapd(t)
	withPasswords := ldapConfig()
	withPasswords.Password = "userPassword"
	db, store, log := open(t, s, s.LDAPI, withPasswords)
	ctx := context.Background()
	u, err := db.Lookup(ctx, addr(t, "ALICE@Example.ORG"))
	if got, want := fmt.Sprint(u.Address, u.Quota, u.Forward, u.SendAs, u.Disabled, u.Schemes, err),
		"Alice@example.org 1073741824 [a@far.test b@far.test] [sales@example.org @example.net] false [PLAIN BCRYPT] <nil>"; got != want {
		t.Errorf("alice:\ngot  %s\nwant %s", got, want)
	}
	for _, c := range []struct{ user, want string }{
		{"nobody@example.org", "no such user"},
		{"*@example.org", "no such user"},
		{`"*"@example.org`, "no such user"},
		{`"bob)(mail=*"@example.org`, "no such user"},
		{`"bob\\2a"@example.org`, "no such user"},
		{`"bob "@example.org`, "no such user"}, // the server's rules take it for bob
		{`" bob"@example.org`, "no such user"},
		{"bób@example.org", "no such user"},
		{"{local}@example.org", "no such user"},
		{"twin@example.org", "uid=twin2,dc=example,dc=org"},
		{"quota@example.org", "column quota"},
		{"bob@example.org", "column password: neither"},
		{"hash@example.org", `column password: unknown scheme "SSHA"`},
		{"nul@example.org", "column password: control character"},
		{"octets@example.org", "column password: not UTF-8"},
		{"dave@example.org", ""},
		{"carol@example.org", ""},
		{"u519@example.org", ""},
	} {
		_, err := db.Lookup(ctx, addr(t, c.user))
		switch {
		case c.want == "no such user" && !errors.Is(err, directory.ErrUnknown),
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)),
			c.want == "" && err != nil,
			err != nil && (strings.Contains(err.Error(), "builder") || strings.Contains(err.Error(), "c2VjcmV0") || errors.Is(err, directory.ErrAway)):
			t.Errorf("%s: got %v, want %q", c.user, err, c.want)
		}
	}
	wantLogins(t, db, []attempt{
		{"alice@example.org", "wonderland", "Alice@example.org"},
		{"alice@example.org", "wonder", ""},
		{"carol@example.org", "carol", ""},
		{"dave@example.org", "x", ""},
		{"nobody@example.org", "x", ""},
	})
	for alias, want := range map[string]string{"both@example.org": "[Alice@example.org alice@example.com bob@example.org]", "sales@EXAMPLE.org": "[Alice@example.org alice@example.com]", "alice@example.org": "[]", "*@example.org": "[]"} {
		got, err := db.Alias(ctx, addr(t, alias))
		slices.Sort(got)
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("alias %s: got %v, %v; want %s", alias, got, err, want)
		}
	}
	seen := map[string]bool{}
	if err := store.List(ctx, func(a string) { seen[a] = true }); err != nil || !seen["u0@example.org"] || !seen["u519@example.org"] || len(seen) != many+10 {
		t.Errorf("list: %d, %v; want all %d", len(seen), err, many+10)
	}
	// More members than the server gives: half a list is none, and the server is there for others.
	large := withPasswords
	large.Alias = "(|(mailAlternate={address})(uid=u*))"
	db, _, largeLog := open(t, s, s.LDAPI, large)
	if got, err := db.Alias(ctx, addr(t, "large@example.org")); !errors.Is(err, directory.ErrFault) || errors.Is(err, directory.ErrAway) {
		t.Errorf("a large alias: got %d targets and %v, want a fault", len(got), err)
	}
	if log.String()+largeLog.String() != "" {
		t.Errorf("logged %s%s", log, largeLog)
	}
}

// Where the server checks passwords, it is asked about each that is not known to be right, and what an operator changes counts.
func TestPasswordsByBind(t *testing.T) {
	s := startSlapd(t)
	db, store, _ := open(t, s, s.LDAPI, ldapConfig())
	ctx := context.Background()
	wantLogins(t, db, []attempt{
		{"BOB@example.org", "builder", "bob@example.org"},
		{"bob@example.org", "builder", "bob@example.org"},
		{"bob@example.org", "Builder", ""},
		{"bob@example.org", "", ""},               // servers take it for a login as nobody
		{"carol@example.org", "{PLAIN}carol", ""}, // disabled
		{"dave@example.org", "x", ""},             // has no password
		{"nobody@example.org", "builder", ""},
		{"*@example.org", "builder", ""},
	})
	if err := store.Verify(ctx, directory.Row{}, "builder"); !errors.Is(err, mta.ErrCredentials) {
		t.Errorf("without a name: %v", err)
	}
	admin, err := ldap.DialURL(s.LDAP)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	m := ldap.NewModifyRequest("uid=bob,dc=example,dc=org", nil)
	m.Replace("userPassword", []string{"other"})
	if err := errors.Join(admin.Bind("cn=admin,dc=example,dc=org", "admin"), admin.Modify(m)); err != nil {
		t.Fatal(err)
	}
	wantLogins(t, db, []attempt{{"bob@example.org", "builder", ""}, {"bob@example.org", "other", "bob@example.org"}})
	if scram, plus := db.OffersScram(); scram || plus {
		t.Error("SCRAM is offered, though nobody has a verifier")
	}
}

func TestLDAPOverTLS(t *testing.T) {
	s := startSlapd(t)
	ctx := context.Background()
	for _, url := range []string{s.LDAPS, s.LDAP, "ldap://127.0.0.1:1 " + s.LDAPS} {
		db, _, _ := open(t, s, url, ldapConfig())
		if u, err := db.Lookup(ctx, addr(t, "dave@example.org")); err != nil {
			t.Errorf("%s: %v, %v", url, u, err)
		}
		if id, err := db.Authenticate(ctx, "bob@example.org", "builder"); id != "bob@example.org" {
			t.Errorf("%s: %v", url, err)
		}
		store, err := userdb.OpenLDAP(url+login, ldapConfig(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.User(ctx, "dave@example.org"); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s, with a certificate that nobody trusts: %v", url, err)
		}
	}
	store, err := userdb.OpenLDAP(s.LDAPI+"\ncn=posthouse,dc=example,dc=org\nwrong", ldapConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.User(ctx, "dave@example.org"); err == nil || !strings.Contains(err.Error(), "bind as cn=posthouse,dc=example,dc=org") {
		t.Errorf("with a wrong password of ours: %v", err)
	}
	c := ldapConfig()
	c.Base = "dc=example,dc=net"
	db, _, _ := open(t, s, s.LDAPI, c)
	if _, err := db.Lookup(ctx, addr(t, "dave@example.org")); !errors.Is(err, directory.ErrAway) {
		t.Errorf("with a base that is not there: %v; want that nobody can tell", err)
	}
}

// A server that is away is no answer, and the log says so once; when it is back, so are the users, at the first question.
func TestLDAPServerGoesAway(t *testing.T) {
	s := startSlapd(t)
	db, store, log := open(t, s, s.LDAPI, ldapConfig())
	ctx, bob := context.Background(), addr(t, "bob@example.org")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if u, err := db.Lookup(ctx, addr(t, fmt.Sprintf("u%d@example.org", i))); err != nil {
				t.Errorf("%v: %v", u, err)
			}
			if id, err := db.Authenticate(ctx, "bob@example.org", "builder"); id != "bob@example.org" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.Stop()
	for range 3 {
		if _, err := db.Lookup(ctx, bob); !errors.Is(err, directory.ErrAway) {
			t.Errorf("lookup: %v", err)
		}
		if _, err := db.Authenticate(ctx, "alice@example.org", "x"); !errors.Is(err, directory.ErrAway) {
			t.Errorf("login: %v", err)
		}
		if _, err := db.Alias(ctx, bob); !errors.Is(err, directory.ErrAway) {
			t.Errorf("alias: %v", err)
		}
		// That there is no such user needs no server, and is no sign of one.
		if _, err := db.Lookup(ctx, addr(t, `"bob "@example.org`)); err == nil {
			t.Error("there is one with a blank")
		}
		if _, err := db.Authenticate(ctx, `"bob "@example.org`, ""); err == nil {
			t.Error("there is one with a blank, and without a password")
		}
	}
	s.Start(t)
	userdb.NoRest(store)
	eventually(t, func() error { _, err := db.Lookup(ctx, bob); return err }) // at once, if it has not been away for long
	s.Stop()
	s.Start(t)
	if _, err := db.Lookup(ctx, bob); err != nil {
		t.Errorf("after a restart that nobody saw: %v", err)
	}
	if away, back := log.Count("users-away"), log.Count("users-back"); away != 1 || back != 1 || strings.Contains(log.String(), "pa:ss") {
		t.Errorf("log:\n%s", log)
	}
}
