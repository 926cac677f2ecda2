package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// startMilter starts testdata/tell.py, over Sendmail's own library, and returns its address.
func startMilter(t *testing.T) string {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, with Debian's modules
	if out, err := exec.Command(python, "-c", "import Milter").CombinedOutput(); err != nil {
		mtatest.Lacking(t, "python3-milter: %v: %s", err, out)
	}
	socket := filepath.Join(daemontest.Dir(t), "s")
	daemontest.Start(t, "unix:"+socket, python, "testdata/tell.py", "unix:"+socket)
	return "unix:" + socket
}

// TestAMilterOverSendmailsLibrary has the whole of what a milter can do.
func TestAMilterOverSendmailsLibrary(t *testing.T) {
	t.Parallel()
	i := filtered(t, "enabled = [\"milter\"]\n", map[string]string{"milter": "[settings]\naddress = \"" + startMilter(t) + "\"\n"})
	const head = "From: sender@away.test\r\nX-Old: 1\r\nX-Old: 2\r\nX-Old: 3\r\nSubject: x\r\nX-Do: "

	id := i.deposit(t, head+"edit\r\n\r\nbody\r\n", "alice")
	i.delivered(id, "bob")
	if len(i.files("alice")) != 0 {
		t.Error("it is delivered to who was removed")
	}
	got := string(i.one(t, "bob"))
	header, body, _ := strings.Cut(got, "\r\n\r\n")
	for _, want := range []string{
		"X-First: first\r\nReceived: ", "X-Old: 1\r\nX-Old: 3\r\nSubject: changed\r\n", "\r\nX-Told: ", "Return-Path: <changed@here.test>\r\n", " helo client.test; ",
		"; j=mx.here.test; tls=None; ", "; mail <sender@away.test> ; login=None;\r\n\trcpt <alice@here.test>; fields 6; body 6; id=True",
	} {
		if !strings.Contains(header+"\r\n", want) {
			t.Errorf("no %q in\n%s", want, header)
		}
	}
	if body != strings.Repeat("a new body\r\n", 20000) {
		t.Errorf("the body: got %d octets: %.40q", len(body), body)
	}

	c := i.connect(t)
	if _, err := c.cmd("250", "MAIL FROM:<picky@away.test>"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []struct{ reply, rcpt string }{{"550 5.1.1 Not Bob", "bob@here.test"}, {"250", "alice@here.test"}} {
		if _, err := c.cmd(to.reply, "RCPT TO:<%s>", to.rcpt); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.cmd("250", "RSET"); err != nil {
		t.Fatal(err)
	}
	for do, reply := range map[string]string{"reply": "451 4.7.1 one two", "reject": "550 5.7.1 ", "discard": "250 ", "": "250 "} {
		if err := c.begin("sender@away.test", "bob@here.test"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.cmd("354", "DATA"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.cmd(reply, "%s", head+do+"\r\n\r\nx\r\n."); err != nil {
			t.Error(err)
		}
	}
	i.smtpd.Await(t, `event=filtered .*filter=milter stage=message verdict=discard`)
	id = i.deposit(t, head+"quarantine\r\n\r\nx\r\n", "bob")
	i.smtpd.Await(t, `event=filtered .*id=`+id+` filter=milter stage=message verdict=quarantine text=odd`)
	i.stop()
	i.wantSound()
}

// TestRealOpenDKIM signs what users submit, and verifies what others send, with keys that it has from files.
func TestRealOpenDKIM(t *testing.T) {
	t.Parallel()
	opendkim := daemontest.Need(t, "opendkim")
	dir := daemontest.Dir(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	private := daemontest.Write(t, dir, "key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	keys := daemontest.Write(t, dir, "keys", "one._domainkey.here.test "+record+"\n")
	conf := daemontest.Write(t, dir, "conf", "Domain here.test\nSelector one\nKeyFile "+private+"\nRequireSafeKeys no\nMode sv\nCanonicalization simple/simple\n"+
		"InternalHosts 192.0.2.1\nTestPublicKeys "+keys+"\nAuthservID opendkim\nAlwaysAddARHeader yes\nSocket local:"+dir+"/s\nUMask 000\nTemporaryDirectory "+dir+"\n")
	daemontest.Start(t, "unix:"+dir+"/s", opendkim, "-f", "-x", conf)
	i := filtered(t, "enabled = [\"milter-opendkim\"]\n", map[string]string{"milter-opendkim": "[settings]\naddress = \"unix:" + dir + "/s\"\n"})

	content := "From: Alice <alice@here.test>\r\nTo: bob@here.test\r\nDate: Fri, 27 Nov 2026 12:00:00 +0000\r\nMessage-ID: <one@here.test>\r\nSubject: folded\r\n\tand  wide\r\n\r\n.body\r\n\r\n"
	id, _, err := i.submit(t, "alice").send([]byte(content), "alice@here.test", "bob@here.test")
	if err != nil {
		t.Fatal(err)
	}
	i.delivered(id, "bob")
	signed := i.one(t, "bob")
	at := bytes.Index(signed, []byte("DKIM-Signature:"))
	if at < 0 {
		t.Fatalf("no signature in\n%s", signed)
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(signed), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "one._domainkey.here.test" {
			return nil, os.ErrNotExist
		}
		return []string{record}, nil
	}})
	if err != nil || len(found) != 1 || found[0].Err != nil || found[0].Domain != "here.test" {
		t.Fatalf("its signature: got %+v, %v, in\n%s", found, err, signed)
	}

	for text, want := range map[string]string{
		string(signed[at:]): "dkim=pass", strings.Replace(string(signed[at:]), ".body", ".bodies", 1): "dkim=fail", content: "dkim=none",
	} {
		i.delivered(i.deposit(t, text, "alice"), "alice")
		got := string(i.one(t, "alice"))
		_, result, _ := strings.Cut(got, "\r\nAuthentication-Results: opendkim;")
		result = strings.TrimRight(strings.Fields(result + " ;")[0], ";")
		if result != want {
			t.Errorf("got %q, want %q, in\n%s", result, want, got)
		}
	}
	i.stop()
	i.wantSound()
}
