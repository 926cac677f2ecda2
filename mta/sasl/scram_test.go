package sasl_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// pencil are the Accounts of the example in RFC 7677.
type pencil struct{ users }

func (pencil) Scram(context.Context, string) (string, mta.ScramVerifier, error) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	return "user@example.org", verifierOf("pencil", salt), nil
}

// TestTheExampleOfRFC7677 is its section 3, letter by letter.
func TestTheExampleOfRFC7677(t *testing.T) {
	s := begin(t, "SCRAM-SHA-256", pencil{}, nil)
	sasl.SetNonce(s, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
	for _, step := range []struct{ response, challenge string }{
		{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
		{"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		got, done, err := s.Next([]byte(step.response))
		if string(got) != step.challenge || done || err != nil || s.Identity() != "" {
			t.Fatalf("%s: got %q, done %v, error %v, identity %q; want %q and no end", step.response, got, done, err, s.Identity(), step.challenge)
		}
	}
	if got, done, err := s.Next([]byte{}); got != nil || !done || err != nil || s.Identity() != "user@example.org" {
		t.Errorf("got %q, done %v, error %v, identity %q; want the end", got, done, err, s.Identity())
	}
}

func begin(t testing.TB, mechanism string, accounts sasl.Accounts, bind sasl.Bindings) sasl.Server {
	t.Helper()
	s, err := sasl.New(t.Context(), mechanism, accounts, bind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client is the other side: the library's, which this package does not use.
type client struct {
	login, password, authzid string
	bind                     scram.ChannelBinding
	couldBind                bool // and was not shown -PLUS: it says "y"
}

func (c client) conversation(t testing.TB) *scram.ClientConversation {
	t.Helper()
	cl, err := scram.SHA256.NewClient(c.login, c.password, c.authzid)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.couldBind:
		return cl.NewConversationAdvertisingChannelBinding()
	case c.bind.IsSupported():
		return cl.NewConversationWithChannelBinding(c.bind)
	}
	return cl.NewConversation()
}

// talk runs an exchange to its end; change may alter what the client says, by its step.
func talk(t testing.TB, s sasl.Server, c *scram.ClientConversation, change func(step int, said string) string) error {
	t.Helper()
	challenge := ""
	for step := range 4 {
		said, err := c.Step(challenge)
		if err != nil {
			t.Fatalf("client, step %d: %v", step, err)
		}
		if change != nil {
			said = change(step, said)
		}
		b, done, err := s.Next([]byte(said))
		if done || err != nil {
			if done && !c.Valid() {
				t.Error("the client has not seen a good signature of ours")
			}
			if (err == nil) != done || (s.Identity() != "") != done {
				t.Errorf("got done %v, error %v, identity %q", done, err, s.Identity())
			}
			return err
		}
		challenge = string(b)
	}
	t.Fatal("an exchange without an end")
	return nil
}

func TestScramTellsWhoMayComeIn(t *testing.T) {
	exporter := scram.ChannelBinding{Type: "tls-exporter", Data: []byte("one end")}
	other := scram.ChannelBinding{Type: "tls-exporter", Data: []byte("another")}
	endpoint := scram.ChannelBinding{Type: "tls-server-end-point", Data: []byte("one end")}
	here := sasl.Bindings{"tls-exporter": []byte("one end")}
	const plain, plus = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
	replace := func(step int, old, with string) func(int, string) string {
		return func(at int, said string) string {
			if at == step {
				return strings.Replace(said, old, with, 1)
			}
			return said
		}
	}
	for _, c := range []struct {
		name      string
		mechanism string
		client    client
		bind      sasl.Bindings
		change    func(int, string) string
		want      error
		noPlus    bool
	}{
		{"wrong password", plain, client{login: "alice", password: "coffee"}, nil, nil, sasl.ErrCredentials, false},
		{"wrong password, bound", plus, client{login: "alice", password: "coffee", bind: exporter}, here, nil, sasl.ErrCredentials, false},
		{"unknown login", plain, client{login: "mallory", password: "tea"}, nil, nil, sasl.ErrCredentials, false},
		{"login without a verifier", plain, client{login: "carol", password: "tea"}, nil, nil, sasl.ErrTransition, false},
		{"to act for another", plain, client{login: "alice", password: "tea", authzid: "bob"}, nil, nil, sasl.ErrCredentials, false},
		{"another connection", plus, client{login: "alice", password: "tea", bind: other}, here, nil, sasl.ErrBinding, false},
		{"another connection, wrong password", plus, client{login: "alice", password: "coffee", bind: other}, here, nil, sasl.ErrBinding, false},
		{"another connection, unknown login", plus, client{login: "mallory", password: "tea", bind: other}, here, nil, sasl.ErrBinding, false},
		{"a type that is not offered", plus, client{login: "alice", password: "tea", bind: endpoint}, here, nil, sasl.ErrBindingType, false},
		{"a type that nobody knows", plus, client{login: "alice", password: "tea", bind: exporter}, here, replace(0, "exporter", "imagined"), sasl.ErrBindingType, false},
		{"-PLUS cut out of the list", plain, client{login: "alice", password: "tea", bind: exporter, couldBind: true}, here, nil, sasl.ErrBinding, false},
		{"the same, hidden", plain, client{login: "alice", password: "tea", bind: exporter, couldBind: true}, here, replace(0, "y", "n"), sasl.ErrBinding, false},
		{"bound, without -PLUS", plain, client{login: "alice", password: "tea", bind: exporter}, here, nil, sasl.ErrMalformed, false},
		{"not bound, with -PLUS", plus, client{login: "alice", password: "tea"}, here, nil, sasl.ErrMalformed, false},
		{"another nonce", plain, client{login: "alice", password: "tea"}, nil, replace(1, ",r=", ",r=x"), sasl.ErrMalformed, false},
		{"text after our signature", plain, client{login: "alice", password: "tea"}, nil, replace(2, "", "x"), sasl.ErrMalformed, false},

		{"right password", plain, client{login: "alice", password: "tea"}, nil, nil, nil, false},
		{"to act for oneself", plain, client{login: "alice", password: "tea", authzid: "ALICE@example.org"}, nil, nil, nil, false},
		{"to act for oneself, by name", plain, client{login: "alice", password: "tea", authzid: "alice"}, nil, nil, nil, false},
		{"client that cannot bind", plain, client{login: "alice", password: "tea"}, here, nil, nil, false},
		{"client that could bind, where nothing is offered", plain, client{login: "alice", password: "tea", bind: exporter, couldBind: true}, nil, nil, nil, false},
		{"bound", plus, client{login: "alice@example.org", password: "tea", bind: exporter}, here, nil, nil, false},
		{"client that could bind, where -PLUS is switched off", plain, client{login: "alice", password: "tea", bind: exporter, couldBind: true}, here, nil, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := talk(t, begin(t, c.mechanism, users{noPlus: c.noPlus}, c.bind), c.client.conversation(t), c.change)
			if !errors.Is(err, c.want) {
				t.Errorf("got error %v, want %v", err, c.want)
			}
		})
	}
}

func TestScramMessagesThatAreNone(t *testing.T) {
	for _, message := range []string{
		"", ",", "n", "n,", "n,,", "n,,n=alice", "n,,n=alice,", "n,,n=,r=abc", "n,,r=abc,n=alice", "n,,n=alice,r=", "n,,n=alice,r=a b",
		"n,,n=alice,r=a\xc3\xa4", "n,,n=alice\x00,r=abc", "n,,n=al\xffice,r=abc", "n,,n=al=ice,r=abc", "n,,n=al=2cice,r=abc", "n,a=,n=alice,r=abc", "n,x,n=alice,r=abc",
		"n,a=al=ice,n=alice,r=abc", "N,,n=alice,r=abc", "p,,n=alice,r=abc", "p=,,n=alice,r=abc", "p=tls exporter,,n=alice,r=abc", "n,,m=x,n=alice,r=abc",
		"n,,n=alice,r=" + strings.Repeat("a", 4096),
	} {
		if got, done, err := begin(t, "SCRAM-SHA-256", users{}, nil).Next([]byte(message)); !errors.Is(err, sasl.ErrMalformed) || done || got != nil {
			t.Errorf("%.60q: got %q, done %v, error %v; want ErrMalformed", message, got, done, err)
		}
	}
	const right = "c=biws,r=abcdef,p="
	for _, message := range []string{"", "c=biws", "c=biws,r=abcdef", right, right + "!!!!", right + "AAAA", "r=abcdef,c=biws,p=AAAA", "c=,r=abcdef,p=AAAA", "p=" + strings.Repeat("A", 5000)} {
		s := begin(t, "SCRAM-SHA-256", users{}, nil)
		sasl.SetNonce(s, "def")
		if _, _, err := s.Next([]byte("n,,n=alice,r=abc")); err != nil {
			t.Fatal(err)
		}
		if got, done, err := s.Next([]byte(message)); err == nil || errors.Is(err, sasl.ErrCredentials) || done || got != nil {
			t.Errorf("%.60q: got %q, done %v, error %v; want an error that is no refusal", message, got, done, err)
		}
		if _, done, err := s.Next([]byte{}); !errors.Is(err, sasl.ErrMalformed) || done {
			t.Errorf("%.60q, and then the end: got done %v, error %v", message, done, err)
		}
	}
}

// TestScramNamesAreDecoded: a comma and an equals sign in a name are escaped (RFC 5802 5.1).
func TestScramNamesAreDecoded(t *testing.T) {
	asked := ""
	s := begin(t, "SCRAM-SHA-256", asking{users{}, &asked}, nil)
	if _, _, err := s.Next(nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Next([]byte("n,,n=a=2Cb=3Dc@example.org,r=abc")); err != nil || asked != "a,b=c@example.org" {
		t.Errorf("got %q, error %v; want a,b=c@example.org", asked, err)
	}
}

type asking struct {
	users
	login *string
}

func (a asking) Scram(ctx context.Context, login string) (string, mta.ScramVerifier, error) {
	*a.login = login
	return a.users.Scram(ctx, login)
}

// TestUnknownLoginsLookLikeWrongPasswords: each step has the same answer in the same form.
func TestUnknownLoginsLookLikeWrongPasswords(t *testing.T) {
	for _, login := range []string{"alice", "mallory"} {
		s := begin(t, "SCRAM-SHA-256", users{}, nil)
		sasl.SetNonce(s, "def")
		c := client{login: login, password: "coffee"}.conversation(t)
		steps := 0
		err := talk(t, s, c, func(step int, said string) string { steps++; return said })
		if err != sasl.ErrCredentials || steps != 2 {
			t.Errorf("%s: got error %v after %d steps; want the bare ErrCredentials after 2", login, err, steps)
		}
	}
}

// TestBothEndsOfAConnectionHaveTheSameBindings, and no two connections have.
func TestBothEndsOfAConnectionHaveTheSameBindings(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	seen := map[string]bool{}
	for _, c := range []struct {
		version uint16
		want    []string
	}{
		{tls.VersionTLS13, []string{"tls-exporter"}},
		{tls.VersionTLS12, []string{"tls-exporter", "tls-unique"}},
	} {
		for range 2 {
			client, server := handshake(t, certs, c.version)
			here, there := sasl.BindingsOf(server), sasl.BindingsOf(client)
			if len(here) != len(c.want) {
				t.Errorf("TLS %x: got %d bindings, want %q", c.version, len(here), c.want)
			}
			for _, name := range c.want {
				if len(here[name]) == 0 || string(here[name]) != string(there[name]) || seen[string(here[name])] {
					t.Errorf("TLS %x, %s: got %x and %x; want the same, and new", c.version, name, here[name], there[name])
				}
				seen[string(here[name])] = true
			}
		}
	}
	if got := sasl.BindingsOf(nil); got != nil {
		t.Errorf("without TLS: got %v", got)
	}
	if got := sasl.BindingsOf(&tls.ConnectionState{Version: tls.VersionTLS13}); got != nil {
		t.Errorf("before the handshake: got %v", got)
	}
}

func handshake(t *testing.T, certs *mtatest.Certs, version uint16) (client, server *tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	cfg := certs.Client("mx.here.test")
	cfg.MaxVersion = version
	cl, sv := tls.Client(a, cfg), tls.Server(b, certs.Server())
	defer cl.Close()
	defer sv.Close()
	done := make(chan error, 1)
	go func() { done <- sv.Handshake() }()
	if err := cl.Handshake(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, cl) }() // session tickets
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	x, y := cl.ConnectionState(), sv.ConnectionState()
	return &x, &y
}

// FuzzScram changes what a client with the right password says, octet by octet: it comes in only when nothing that counts
// was changed. Then it lets a stranger say anything at all.
func FuzzScram(f *testing.F) {
	cl, err := scram.SHA256.NewClient("alice", "tea", "") // it remembers the keys
	if err != nil {
		f.Fatal(err)
	}
	exporter := scram.ChannelBinding{Type: "tls-exporter", Data: []byte("one end")}
	f.Fuzz(func(t *testing.T, first, final string, step uint8, at int, octet byte) {
		stranger := begin(t, "SCRAM-SHA-256", users{}, nil)
		sasl.SetNonce(stranger, "def")
		for _, said := range []string{first, final, ""} {
			if _, done, err := stranger.Next([]byte(said)); done || err != nil {
				if done {
					t.Fatalf("%q and %q came in", first, final)
				}
				break
			}
		}
		changed, before := false, ""
		s := begin(t, "SCRAM-SHA-256-PLUS", users{}, sasl.Bindings{"tls-exporter": []byte("one end")})
		err := talkUntil(s, cl.NewConversationWithChannelBinding(exporter), func(n int, said string) string {
			if n != int(step) || len(said) == 0 {
				return said
			}
			i := int(uint(at) % uint(len(said)))
			before, changed = said, said[i] != octet
			return said[:i] + string([]byte{octet}) + said[i+1:]
		})
		if changed == (err == nil) {
			t.Errorf("step %d of %q, octet %d %q: got error %v", step, before, at, octet, err)
		}
	})
}

// talkUntil is talk for a client that hears what it does not expect.
func talkUntil(s sasl.Server, c *scram.ClientConversation, change func(int, string) string) error {
	challenge := ""
	for step := 0; ; step++ {
		said, err := c.Step(challenge)
		if err != nil {
			return err
		}
		b, done, err := s.Next([]byte(change(step, said)))
		if done || err != nil {
			return err
		}
		challenge = string(b)
	}
}
