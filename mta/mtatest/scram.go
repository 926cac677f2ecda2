package mtatest

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// scram is a client of AUTH SCRAM-SHA-256 or SCRAM-SHA-256-PLUS, in SMTP (RFC 4954) and in POP3 (RFC 5034): its arguments
// are the mechanism, a login, a password, and what the client is to do otherwise than it should:
//
//	late       it sends no initial response
//	unseen     it could bind, and says that the -PLUS mechanism was not offered
//	elsewhere  it is at the end of another connection
//	endpoint   it binds by tls-server-end-point
//	loose      with -PLUS, it does not bind
//	cancel     it gives up when it has the salt
//	signature  it does not believe the server's signature, and gives up
//
// The exchange ends with the server's line that is no challenge, which the script expects; or after the client has given up.
func (d *dialogue) scram(args []string) bool {
	d.t.Helper()
	if len(args) < 3 || len(args) > 4 {
		d.t.Fatalf("line %d: SCRAM takes a mechanism, a login, a password and perhaps a change", d.line)
	}
	mechanism, change := args[0], strings.Join(args[3:], "")
	c, err := d.conversation(mechanism, args[1], args[2], change)
	if err != nil {
		d.t.Errorf("line %d: %v", d.line, err)
		return false
	}
	challenge := ""
	for step := 0; ; step++ {
		said := ""
		if !c.Done() {
			if said, err = c.Step(challenge); err != nil {
				d.t.Errorf("line %d: the server's %q: %v", d.line, challenge, err)
				return false
			}
		}
		line := base64.StdEncoding.EncodeToString([]byte(said))
		switch {
		case step == 0 && change != "late":
			line = "AUTH " + mechanism + " " + line
		case step == 0:
			d.out = append(d.out, "AUTH "+mechanism+"\r\n"...)
			if !d.send() || !d.expect(`(334|\+) `) {
				return false
			}
		case step == 1 && change == "cancel", step == 2 && change == "signature":
			d.out = append(d.out, "*\r\n"...)
			return d.send()
		}
		d.out = append(d.out, line+"\r\n"...)
		if !d.send() {
			return false
		}
		var ok bool
		if challenge, ok = d.challenge(); !ok {
			return true
		}
	}
}

func (d *dialogue) conversation(mechanism, login, password, change string) (*scram.ClientConversation, error) {
	c, err := scram.SHA256.NewClient(login, password, "")
	if err != nil {
		return nil, err
	}
	switch {
	case change == "unseen":
		return c.NewConversationAdvertisingChannelBinding(), nil
	case !strings.HasSuffix(mechanism, "-PLUS") || change == "loose":
		return c.NewConversation(), nil
	}
	over, ok := d.nc.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("%s without TLS", mechanism)
	}
	state := over.ConnectionState()
	bind, err := scram.NewTLSExporterBinding(&state)
	switch {
	case err != nil:
		return nil, err
	case change == "endpoint":
		bind, err = scram.NewTLSServerEndpointBinding(&state)
	case change == "elsewhere":
		bind.Data[0] ^= 1
	}
	return c.NewConversationWithChannelBinding(bind), err
}

// challenge reads one. What is none is left for the script.
func (d *dialogue) challenge() (string, bool) {
	d.t.Helper()
	for _, prefix := range []string{"334 ", "+ "} {
		if b, err := d.br.Peek(len(prefix)); err != nil || string(b) != prefix {
			continue
		}
		line, err := d.br.ReadString('\n')
		b, err2 := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(strings.TrimPrefix(line, prefix), "\r\n"))
		if err != nil || err2 != nil {
			d.t.Errorf("line %d: got the challenge %q: %v, %v", d.line, line, err, err2)
		}
		return string(b), true
	}
	return "", false
}
