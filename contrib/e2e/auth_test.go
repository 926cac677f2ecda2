package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// loggedIn waits until smtpd tells of alice's login by a mechanism, behind a mark in its log.
func (p *peers) loggedIn(t *testing.T, mark int, mech string) {
	t.Helper()
	p.smtpd.AwaitFrom(t, mark, "event=login .* login=alice@here.test mech="+mech+"$")
}

// TestGNUSASLLogsIn is for SCRAM with a client that shares no code with us, at both ends of TLS 1.3 and of TLS 1.2.
func TestGNUSASLLogsIn(t *testing.T) {
	p := startPeers(t)
	addr := startTLSNotLast(t, p.submission)
	gsasl := func(args ...string) (int, string) {
		return p.run(t, "", "gsasl", append([]string{"--client", "--smtp", "--connect=" + addr, "--x509-ca-file=" + p.certs.CertFile, "--verbose"}, args...)...)
	}
	alice := []string{"-a", "alice@here.test", "-p", password}
	tls12 := "--priority=NORMAL:-VERS-TLS1.3"
	for _, c := range []struct {
		mech, said string
		args       []string
	}{
		{"SCRAM-SHA-256-PLUS", "(TLS1.3)", nil}, // what it chooses of all that is offered
		{"SCRAM-SHA-256-PLUS", "(TLS1.2)", []string{tls12}},
		{"SCRAM-SHA-256", "(TLS1.3)", []string{"--no-cb", "--mechanism=SCRAM-SHA-256"}},
		{"SCRAM-SHA-256", "(TLS1.2)", []string{"--no-cb", "--mechanism=SCRAM-SHA-256", tls12}},
		{"PLAIN", "(TLS1.3)", []string{"--mechanism=PLAIN"}},
		{"LOGIN", "(TLS1.3)", []string{"--mechanism=LOGIN"}},
	} {
		mark := p.smtpd.Mark()
		status, out := gsasl(append(c.args, alice...)...)
		for _, part := range []string{c.said, "\nAUTH " + c.mech + "\n", "\n235 2.7.0 ", "server trusted"} {
			if status != 0 || !strings.Contains(strings.ReplaceAll(out, "\r", ""), part) {
				t.Errorf("%s %q: got exit status %d and no %q:\n%s", c.mech, c.args, status, part, out)
			}
		}
		p.loggedIn(t, mark, c.mech)
	}
	// Without the extended master secret two connections can be made to have the same bindings.
	noEMS := "--priority=NORMAL:-VERS-TLS1.3:%NO_SESSION_HASH"
	if status, out := gsasl(append([]string{"--no-cb", noEMS}, alice...)...); status != 0 || !strings.Contains(out, "250 AUTH SCRAM-SHA-256 PLAIN LOGIN") {
		t.Errorf("TLS 1.2 without the extended master secret: got exit status %d, want no -PLUS to be offered:\n%s", status, out)
	}
	for _, args := range [][]string{{"-a", "alice@here.test", "-p", "wrong"}, {"-a", "nobody@here.test", "-p", password},
		{"--no-cb", "--mechanism=SCRAM-SHA-256", "-a", "alice@here.test", "-p", "wrong"}} {
		if status, out := gsasl(args...); status == 0 || !strings.Contains(out, "\n535 5.7.8 ") {
			t.Errorf("%q: got exit status %d, want 535:\n%s", args, status, out)
		}
	}
}

// TestVerifiersOfGNUSASLAreTaken: what others have made for SCRAM-SHA-256 goes into the users file as it is.
func TestVerifiersOfGNUSASLAreTaken(t *testing.T) {
	p := startPeers(t)
	verifier := strings.TrimSpace(p.good(t, "", "gsasl", "--mkpasswd", "--mechanism=SCRAM-SHA-256", "--password=Gr\u00fc\u00dfe"))
	users := filepath.Join(p.dir, "users")
	mtatest.Write(t, users, readFile(t, users)+"carol@here.test "+verifier+"\n")
	for _, mech := range []string{"PLAIN", "SCRAM-SHA-256"} {
		rc := p.file(t, ".msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls on\ntls_trust_file %s\nauth %s\nuser carol@here.test\npassword \"Gr\u00fc\u00dfe\"\nfrom carol@here.test\n",
			p.ip, port(p.submission), p.certs.CertFile, strings.ToLower(mech)))
		mtatest.Eventually(t, func() error { // smtpd looks at the file once a second
			if status, out := p.run(t, "Subject: carol by "+mech+"\n\nhello\n", "msmtp", "-C", rc, "bob@here.test"); status != 0 {
				return fmt.Errorf("msmtp: status %d: %s", status, out)
			}
			return nil
		})
		p.wantMail(t, "bob", "carol by "+mech)
	}
}

// startTLSNotLast stands before a server until TLS begins. GNU SASL sees STARTTLS only in a line that another follows.
func startTLSNotLast(t *testing.T, server string) string {
	t.Helper()
	ip, _, _ := net.SplitHostPort(server)
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { relay(client, server) })
		}
	})
	return l.Addr().String()
}

func relay(client net.Conn, server string) {
	defer client.Close()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	go func() { // ends with the connections
		_, _ = io.Copy(s, client)
		_ = s.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		said := bytes.Replace(buf[:n], []byte("\r\n250 STARTTLS\r\n"), []byte("\r\n250-STARTTLS\r\n250 HELP\r\n"), 1)
		if _, werr := client.Write(said); err != nil || werr != nil {
			return
		}
	}
}

func TestMsmtpLogsInByScram(t *testing.T) {
	p := startPeers(t)
	rc := func(auth, password string) string {
		return p.file(t, ".msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls on\ntls_starttls on\ntls_trust_file %s\nauth %s\nuser alice@here.test\npassword \"%s\"\nfrom alice@here.test\n",
			p.ip, port(p.submission), p.certs.CertFile, auth, password))
	}
	for _, mech := range []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"} {
		mark := p.smtpd.Mark()
		p.good(t, "Subject: by "+mech+"\n\nhello\n", "msmtp", "-C", rc(strings.ToLower(mech), password), "bob@here.test")
		p.loggedIn(t, mark, mech)
		p.wantMail(t, "bob", "by "+mech)
	}
	if status, out := p.run(t, "Subject: no\n\n", "msmtp", "-C", rc("scram-sha-256", "wrong"), "bob@here.test"); status != 77 || !strings.Contains(out, "535 5.7.8 ") {
		t.Errorf("wrong password: got exit status %d, want 77 and 535:\n%s", status, out)
	}
}

// TestMuttLogsInByScram: Debian's mutt takes the strongest that it is offered, and knows nothing of channel binding. It is told
// what to use, or -PLUS is not offered.
func TestMuttLogsInByScram(t *testing.T) {
	t.Parallel()
	p := &peers{instance: start(t, options{top: "users.scram_plus = false"}), home: t.TempDir()}
	for _, c := range []struct{ set, mech string }{{"", "SCRAM-SHA-256"}, {"set smtp_authenticators=scram-sha-256", "SCRAM-SHA-256"}, {"set smtp_authenticators=login", "LOGIN"}} {
		rc := p.file(t, "muttrc", fmt.Sprintf("set ssl_force_tls=yes\nset certificate_file=%q\nset from=\"alice@here.test\"\nset smtp_url=%q\nset smtp_pass=%q\n%s\nset record=\"\"\nset spoolfile=%q\n",
			p.certs.CertFile, "smtps://alice%40here.test@"+p.submissions, password, c.set, p.file(t, "inbox", "")))
		mark := p.smtpd.Mark()
		p.good(t, "hello\n", "mutt", "-n", "-F", rc, "-s", "mutt by "+c.mech, "--", "bob@here.test")
		p.loggedIn(t, mark, c.mech)
		p.wantMail(t, "bob", "mutt by "+c.mech)
	}
}

func TestCurlLogsInByEachMechanismThatItHas(t *testing.T) {
	p := startPeers(t)
	body := p.file(t, "message", message("curl"))
	for _, mech := range []string{"PLAIN", "LOGIN"} {
		for _, more := range [][]string{nil, {"--sasl-ir"}} {
			mark := p.smtpd.Mark()
			p.good(t, "", "curl", append([]string{"-sS", "--ssl-reqd", "--cacert", p.certs.CertFile, "-u", "alice@here.test:" + password, "--login-options", "AUTH=" + mech,
				"--mail-from", "alice@here.test", "--mail-rcpt", "bob@here.test", "--upload-file", body, "smtp://" + p.submission}, more...)...)
			p.loggedIn(t, mark, mech)
		}
	}
}

const pythonLogsIn = pythonStart + `
import base64
def session():
    s = smtplib.SMTP(host, int(submission)); s.starttls(context=ctx); s.ehlo(); return s
user, ok = "alice@here.test", (235,)
for mech in "PLAIN", "LOGIN":
    for initial in True, False:
        with session() as s:
            assert mech in s.esmtp_features["auth"].split(), s.esmtp_features
            s.user, s.password = user, password
            code, said = s.auth(mech, getattr(s, "auth_" + mech.lower()), initial_response_ok=initial)
            assert code == 235, (mech, initial, code, said)
            assert s.docmd("AUTH", mech)[0] == 503
def step(s, code, enhanced, *args):
    got = s.docmd(*args); assert got[0] == code and got[1].startswith(enhanced), (args, got)
with session() as s:
    step(s, 334, b"", "AUTH", "PLAIN"); step(s, 501, b"5.7.0", "*")
    step(s, 334, b"VXNlcm5hbWU6", "AUTH", "LOGIN"); step(s, 501, b"5.7.0", "*")
    step(s, 501, b"5.5.2", "AUTH", "PLAIN ="); step(s, 501, b"5.5.2", "AUTH", "PLAIN !"); step(s, 504, b"5.5.4", "AUTH", "CRAM-MD5")
    step(s, 501, b"5.5.4", "AUTH"); step(s, 535, b"5.7.8", "AUTH", "PLAIN " + base64.b64encode(b"\0nobody\0x").decode())
    s.login(user, password); s.sendmail(user, ["bob@here.test"], text(1))
`

func TestPythonLogsIn(t *testing.T) {
	p := startPeers(t)
	p.good(t, "", "python3", "-c", pythonLogsIn, p.ip, port(p.submission), port(p.submissions), port(p.pop3), port(p.pop3s), p.certs.CertFile, password)
}
