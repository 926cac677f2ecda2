package userdb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// With the settings that the manual page has for it a directory with the attributes of Active Directory serves.
func TestActiveDirectory(t *testing.T) {
	entries, err := os.ReadFile("testdata/activedirectory.ldif")
	if err != nil {
		t.Fatal(err)
	}
	const enabled = "(!(userAccountControl:1.2.840.113556.1.4.803:=2))"
	s := mtatest.StartSlapd(t, string(entries))
	db, store, _ := open(t, s, s.LDAPI, config.LDAP{
		Base: "dc=example,dc=org", User: "(&(objectClass=user)(mail={address})" + enabled + ")", Address: "mail",
		Alias: "(&(proxyAddresses=smtp:{address})(!(mail={address})))", Target: "mail", List: "(&(objectClass=user)(mail=*)" + enabled + ")",
	})
	ctx := context.Background()
	for address, want := range map[string]string{
		"alice.adams@example.org": "Alice.Adams@example.org", "bob@example.org": "bob@example.org",
		"carol@example.org": "", "alice@example.org": "", "aadams@corp.example.org": "", `"smtp:bob"@example.org`: "",
	} {
		u, err := db.Lookup(ctx, addr(t, address))
		if got := u.Address.String(); want != "" && got != want || (want == "") != errors.Is(err, directory.ErrUnknown) {
			t.Errorf("%s: got %s, %v; want %q", address, got, err, want)
		}
	}
	for alias, want := range map[string]string{
		"sales@example.org": "[Alice.Adams@example.org bob@example.org]", "ALICE@example.org": "[Alice.Adams@example.org]", "bob@example.org": "[]",
	} {
		got, err := db.Alias(ctx, addr(t, alias))
		slices.Sort(got)
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("alias %s: got %v, %v; want %s", alias, got, err, want)
		}
	}
	wantLogins(t, db, []attempt{
		{"alice.adams@example.org", "wonderland", "Alice.Adams@example.org"}, {"alice.adams@example.org", "x", ""},
		{"bob@example.org", "builder", "bob@example.org"}, {"bob@example.org", "x", ""},
		{"carol@example.org", "carol", ""}, // disabled
	})
	byName, _, _ := open(t, s, s.LDAPI, config.LDAP{Base: "dc=example,dc=org", User: "(&(objectClass=user)(sAMAccountName={local}))"})
	wantLogins(t, byName, []attempt{{"AAdams@example.org", "wonderland", "aadams@example.org"}})
	var all []string
	if err := store.List(ctx, func(a string) { all = append(all, a) }); err != nil || fmt.Sprint(all) != "[Alice.Adams@example.org bob@example.org]" {
		t.Errorf("list: %v, %v", all, err)
	}
}

// Active Directory takes more names than DNs to bind as.
func TestNamesToBindAs(t *testing.T) {
	for _, name := range []string{"posthouse@corp.example.org", `CORP\posthouse`, "cn=posthouse,dc=example,dc=org"} {
		asked := make(chan string, 1)
		store, err := userdb.OpenLDAP(serve(t, "unix", func(c net.Conn) {
			b := make([]byte, 512)
			n, _ := c.Read(b)
			asked <- string(b[:n])
			_, _ = c.Write([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00")) // success
			_, _ = c.Read(b)
			_, _ = c.Write([]byte("\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00")) // nothing found
		})+"\n"+name+"\nsecret\n", ldapConfig(), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if row, err := store.User(context.Background(), "bob@example.org"); row != nil || err != nil {
			t.Errorf("%s: got %v, %v", name, row, err)
		}
		if got := <-asked; !strings.Contains(got, name) || !strings.HasSuffix(got, "secret") {
			t.Errorf("%s: asked %q", name, got)
		}
	}
}
