package pop3d_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// scramAccounts have verifiers for SCRAM too.
type scramAccounts struct{ accounts }

func (accounts) OffersScram() (scram, plus bool)      { return false, false }
func (scramAccounts) OffersScram() (scram, plus bool) { return true, true }

func (accounts) Scram(context.Context, string) (string, mta.ScramVerifier, error) {
	return "", mta.ScramVerifier{}, mta.ErrTransition
}

func (a scramAccounts) Scram(_ context.Context, login string) (string, mta.ScramVerifier, error) {
	password, ok := a.accounts[login]
	if !ok {
		return "", mta.ScramVerifier{Salt: []byte("nobody"), Iterations: 4096}, nil
	}
	if login == "bob@example.org" {
		return "", mta.ScramVerifier{}, mta.ErrTransition
	}
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return "", mta.ScramVerifier{}, err
	}
	k, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	return login, mta.ScramVerifier{Salt: []byte("salt"), Iterations: 4096, StoredKey: [32]byte(k.StoredKey), ServerKey: [32]byte(k.ServerKey)}, err
}

// scram is the client's side of an exchange, up to the line that is no challenge. With "elsewhere" it is bound to another
// connection.
func (c *client) scram(mechanism, login, password, change string) {
	c.t.Helper()
	client, err := scram.SHA256.NewClient(login, password, "")
	if err != nil {
		c.t.Fatal(err)
	}
	talk := client.NewConversation()
	if strings.HasSuffix(mechanism, "-PLUS") {
		state := c.Conn.(*tls.Conn).ConnectionState()
		bind, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			c.t.Fatal(err)
		}
		if change == "elsewhere" {
			bind.Data[0] ^= 1
		}
		talk = client.NewConversationWithChannelBinding(bind)
	}
	command, challenge := "AUTH "+mechanism+" ", ""
	for {
		said := ""
		if !talk.Done() {
			if said, err = talk.Step(challenge); err != nil {
				c.t.Fatalf("the server's %q: %v", challenge, err)
			}
		}
		c.send(command + base64.StdEncoding.EncodeToString([]byte(said)) + "\r\n")
		command = ""
		if b, err := c.r.Peek(2); err != nil || string(b) != "+ " {
			return
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
		if err != nil {
			c.t.Fatal(err)
		}
		challenge = string(b)
	}
}

func offerScram(o *pop3d.Options) { o.Auth = scramAccounts{o.Auth.(accounts)} }

func TestARefusalByScramCountsAsOneByPassword(t *testing.T) {
	counted := &recorder{}
	h := start(t, pop3d.Implicit, func(o *pop3d.Options) {
		offerScram(o)
		o.Delay = counted
	})
	c := h.dial(t)
	c.startTLS(h.certs)
	c.expect("+OK...")
	c.scram("SCRAM-SHA-256", "alice", "wrong", "")
	c.expect("-ERR [AUTH] bad login or password")
	c.scram("SCRAM-SHA-256", "mallory", "wrong", "")
	c.expect("-ERR [AUTH] bad login or password")
	c.scram("SCRAM-SHA-256-PLUS", "alice", "open sesame", "")
	c.expect("+OK 0 messages (0 octets)")
	if want := []string{"failed alice@example.org", "failed mallory@example.org", "succeeded alice@example.org"}; strings.Join(counted.said, ", ") != strings.Join(want, ", ") {
		t.Errorf("got %q, want %q", counted.said, want)
	}
}
