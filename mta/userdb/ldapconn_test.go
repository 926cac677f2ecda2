package userdb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

func TestAccessToLDAP(t *testing.T) {
	secret := "hunter2"
	for _, c := range []struct{ text, want string }{ // bad ones first
		{"", "up to three lines"},
		{"\n\n\n", "up to three lines"},
		{"http://ldap.example.org", "no URL"},
		{secret, "no URL"},
		{"ldap://", "no URL"},
		{"ldap:///dc=example", "no URL"},
		{"ldap://cn=x:hunter2@ldap.example.org", "no URL"},
		{"ldaps://ldap.example.org/dc=example,dc=org?uid", "no URL"},
		{"ldapi://run/slapd", "socket"},
		{"ldapi://%zz", "socket"},
		{strings.Repeat("ldap://h ", 9), "1 to 8"},
		{"ldap://h\ncn=x", "without a password"},
		{"ldap://h\n\nhunter2", "without a DN"},
		{"ldap://h\ncn=x\n\n", "without a password"},
		{"ldap://h\nposthouse\nhunter2", "DN to bind as"},
		{"ldap://h\ncn=x\nhunter2\nmore", "up to three lines"},
		{"ldap://h", ""},
		{"ldaps://a.example.org ldaps://[::1]:6636\r\ncn=x,dc=org\r\nhunter2\r\n", ""},
		{"ldapi://", ""},
		{"ldapi:///run/slapd/ldapi\n", ""},
		{"ldapi://%2frun%2fslapd%2fldapi/", ""},
	} {
		_, err := userdb.OpenLDAP(c.text, ldapConfig(), nil)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), strings.Replace(c.want, "1 to 8", "one to 8", 1)) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		set  func(*config.LDAP)
		want string
	}{
		{func(c *config.LDAP) { c.User = "(objectClass=*)" }, "users.ldap.user: \"(objectClass=*)\" names no address"},
		{func(c *config.LDAP) { c.User = "(mail={domain})" }, "names no address"},
		{func(c *config.LDAP) { c.User = "(mail={address}" }, "users.ldap.user"},
		{func(c *config.LDAP) { c.User = "mail={address}" }, "users.ldap.user"},
		{func(c *config.LDAP) { c.Alias = "(mail=x)" }, "users.ldap.alias"},
		{func(c *config.LDAP) { c.List = "((" }, "users.ldap.list"},
		{func(c *config.LDAP) { c.Base = "example.org" }, "users.ldap.base"},
		{func(c *config.LDAP) { c.User = "(&(uid={local})(associatedDomain={domain}))" }, ""},
		{func(c *config.LDAP) { c.Alias, c.List = "", "" }, ""},
	} {
		cfg := ldapConfig()
		c.set(&cfg)
		if _, err := userdb.OpenLDAP("ldapi://", cfg, nil); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// serve has a function speak for a server, on a network "tcp" or "unix", and returns its URL.
func serve(t *testing.T, network string, speak func(net.Conn)) string {
	t.Helper()
	scheme, address := "ldap://", "127.0.0.1:0"
	if network == "unix" {
		scheme, address = "ldapi://", filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			speak(c)
			_ = c.Close()
		}
	}()
	return scheme + l.Addr().String()
}

func TestLDAPServerThatNeverAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, err := userdb.OpenLDAP(serve(t, "unix", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1)) // the question
		cancel()
		_, _ = io.Copy(io.Discard, c)
	}), ldapConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.User(ctx, "bob@example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLDAPServerThatSaysTooMuch(t *testing.T) {
	for name, begin := range map[string]string{
		"a value":        "\x30\x84\x7f\xff\xff\xff\x02\x01\x01\x64\x84\x7f\xff\xff\x00\x04\x84\x7f\xff\xf0\x00",
		"nests":          strings.Repeat("\x30\x80", 1<<20),
		"no such length": "\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff",
		"no BER":         "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		ended := make(chan struct{})
		store, err := userdb.OpenLDAP(serve(t, "unix", func(c net.Conn) {
			defer close(ended)
			_, _ = io.WriteString(c, begin)
			for chunk := bytes.Repeat([]byte("x"), 64<<10); ; {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}), ldapConfig(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.User(context.Background(), "bob@example.org"); err == nil || name == "a value" && !errors.Is(err, userdb.ErrLong) {
			t.Errorf("%s: got %v", name, err)
		}
		<-ended
	}
}

// What nests deeper than any answer is none: with a megabyte in it each level were one more.
func TestLDAPServerThatNests(t *testing.T) {
	element := func(tag byte, content string) string { return string([]byte{tag, byte(len(content))}) + content }
	for levels, taken := range map[int]bool{0: true, 8: true, 9: false, 50: false} {
		nest := ""
		for range levels {
			nest = element(0x30, nest)
		}
		answer := element(0x30, "\x02\x01\x01"+element(0x65, "\x0a\x01\x00\x04\x00\x04\x00"+nest)) // nothing found
		heard := make(chan struct{})
		store, err := userdb.OpenLDAP(serve(t, "unix", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 512))
			_, _ = io.WriteString(c, answer)
			<-heard
		}), ldapConfig(), nil)
		if err != nil {
			close(heard)
			t.Fatal(err)
		}
		row, err := store.User(context.Background(), "bob@example.org")
		close(heard)
		if row != nil || (err == nil) != taken {
			t.Errorf("%d levels: got %v, %v; taken: want %v", levels, row, err, taken)
		}
	}
}

// A server that will not encrypt says nothing of a password, though it says so in the words for one that it does not take.
func TestLDAPServerThatWillNotEncrypt(t *testing.T) {
	store, err := userdb.OpenLDAP(serve(t, "tcp", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 512))
		_, _ = io.WriteString(c, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x35\x04\x00\x04\x00") // unwillingToPerform
		_, _ = io.Copy(io.Discard, c)
	}), ldapConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(context.Background(), directory.Row{".dn": "uid=bob,dc=example,dc=org"}, "secret"); err == nil || errors.Is(err, mta.ErrCredentials) || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("got %v, want that it cannot be asked", err)
	}
}
