package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// peers is an instance with mail programs of others around it.
type peers struct {
	*instance
	home string
}

// run runs one of them in a home of its own, and returns its exit status and all that it printed.
func (p *peers) run(t *testing.T, stdin string, name string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mtatest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, mtatest.Need(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Dir = p.home
	cmd.Env = append(os.Environ(), "HOME="+p.home, "FETCHMAILHOME="+p.home, "TERM=vt100", "LC_ALL=C.UTF-8", "SSL_CERT_FILE="+p.certs.CertFile)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// good is run for what must succeed.
func (p *peers) good(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	status, out := p.run(t, stdin, name, args...)
	if status != 0 {
		t.Fatalf("%s: got exit status %d, want 0:\n%s", name, status, out)
	}
	return out
}

// file writes a file into the home; a program may insist that nobody else can read it.
func (p *peers) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.home, name)
	mtatest.Write(t, path, text)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// message is a text that says which test it belongs to.
func message(what string) string {
	return "From: alice@here.test\r\nTo: bob@here.test\r\nSubject: " + what + "\r\n\r\nHello from " + what + "\r\n.\r\nGr\xc3\xbc\xc3\x9fe\r\n"
}

// wantMail waits until a message with a subject is in a mailbox, takes it over POP3, and returns it.
func (p *peers) wantMail(t *testing.T, local, subject string) string {
	t.Helper()
	mtatest.Eventually(t, func() error {
		for _, f := range p.files(local) {
			b, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(b), "Subject: "+subject+"\n") {
				return nil
			}
		}
		return fmt.Errorf("%s has no message %q", local, subject)
	})
	return string(p.one(t, local))
}

func host(addr string) string {
	h, _, _ := net.SplitHostPort(addr)
	return h
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func startPeers(t *testing.T) *peers {
	t.Helper()
	t.Parallel()
	p := &peers{instance: start(t, options{}), home: t.TempDir()}
	t.Cleanup(func() {
		if !t.Failed() && !t.Skipped() {
			p.stop()
			p.wantSound()
		}
	})
	return p
}

func TestCurlSendsAndFetches(t *testing.T) {
	p := startPeers(t)
	body := p.file(t, "message", message("curl"))
	for _, url := range []string{"smtp://" + p.submission, "smtps://" + p.submissions} {
		p.good(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", p.certs.CertFile, "-u", "alice@here.test:"+password,
			"--mail-from", "alice@here.test", "--mail-rcpt", "bob@here.test", "--upload-file", body, url)
		m := p.wantMail(t, "bob", "curl")
		if !strings.HasSuffix(m, message("curl")) || !strings.Contains(m, "with ESMTPSA") {
			t.Errorf("%s: got %q, want it to end in %q", url, m, message("curl"))
		}
	}
	if status, out := p.run(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", p.certs.CertFile, "-u", "alice@here.test:wrong",
		"--mail-from", "alice@here.test", "--mail-rcpt", "bob@here.test", "--upload-file", body, "smtp://"+p.submission); status != 67 {
		t.Errorf("wrong password: got exit status %d, want 67 (login denied): %s", status, out)
	}
	p.delivered(p.deposit(t, message("pop"), "bob"), "bob")
	for _, url := range []string{"pop3s://" + p.pop3s, "pop3://" + p.pop3} {
		got := p.good(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", p.certs.CertFile, "-u", "bob@here.test:"+password, url+"/1")
		if !strings.HasSuffix(got, message("pop")) {
			t.Errorf("%s: got %q, want it to end in %q", url, got, message("pop"))
		}
	}
	if status, out := p.run(t, "", "curl", "-sS", "-u", "bob@here.test:"+password, "pop3://"+p.pop3+"/"); status == 0 {
		t.Errorf("a password in the clear: got exit status 0: %s", out)
	}
}

func TestSwaksSendsAndIsRefused(t *testing.T) {
	p := startPeers(t)
	swaks := func(addr string, args ...string) (int, string) {
		host, port, _ := net.SplitHostPort(addr)
		return p.run(t, "", "swaks", append([]string{"--server", host, "--port", port, "--helo", "client.test", "--from", "alice@here.test", "--h-Subject", "swaks"}, args...)...)
	}
	for _, mech := range []string{"PLAIN", "LOGIN"} {
		if status, out := swaks(p.submission, "--tls", "--auth", mech, "--auth-user", "alice@here.test", "--auth-password", password, "--to", "bob@here.test"); status != 0 {
			t.Errorf("AUTH %s: got exit status %d\n%s", mech, status, out)
		}
		p.wantMail(t, "bob", "swaks")
	}
	for _, c := range []struct {
		what, addr, reply string
		args              []string
	}{
		{"wrong password", p.submission, "535 5.7.8 ", []string{"--tls", "--auth", "LOGIN", "--auth-user", "alice@here.test", "--auth-password", "wrong", "--to", "bob@here.test"}},
		{"wrong user", p.submission, "535 5.7.8 ", []string{"--tls", "--auth", "PLAIN", "--auth-user", "nobody@here.test", "--auth-password", password, "--to", "bob@here.test"}},
		{"no login", p.submission, "530 5.7.0 ", []string{"--tls", "--to", "bob@here.test"}},
		{"relaying", p.mx, "550 5.7.1 ", []string{"--to", "x@elsewhere.test"}},
		{"unknown user", p.mx, "550 5.1.1 ", []string{"--to", "nobody@here.test"}},
		{"a percent hack", p.mx, "550 5.1.1 ", []string{"--to", "x%elsewhere.test@here.test"}},
	} {
		if status, out := swaks(c.addr, c.args...); status == 0 || !strings.Contains(out, c.reply) {
			t.Errorf("%s: got exit status %d, want a refusal with %s\n%s", c.what, status, c.reply, out)
		}
	}
	if status, out := swaks(p.submission, "--auth", "PLAIN", "--auth-user", "alice@here.test", "--auth-password", password, "--to", "bob@here.test"); status == 0 || strings.Contains(out, "AUTH PLAIN") {
		t.Errorf("without TLS: got exit status %d, want no AUTH to be offered\n%s", status, out)
	}
	if status, out := swaks(p.mx, "--tls", "--to", "bob@here.test"); status != 0 {
		t.Errorf("mx: got exit status %d\n%s", status, out)
	}
	p.wantMail(t, "bob", "swaks")
}

// pythonStart is for both scripts.
const pythonStart = `
import sys, ssl, smtplib, poplib
host, submission, submissions, pop3, pop3s, ca, password = sys.argv[1:]
ctx = ssl.create_default_context(cafile=ca)
def text(n): return ("Subject: python %d\r\n\r\n.\r\n..\r\nline %d\r\n" % (n, n)).encode()
`

const pythonSends = pythonStart + `
with smtplib.SMTP(host, int(submission)) as s:
    s.ehlo(); assert not s.has_extn("auth"), s.esmtp_features
    s.starttls(context=ctx); s.ehlo()
    for e in "size", "8bitmime", "smtputf8", "pipelining", "enhancedstatuscodes": assert s.has_extn(e), (e, s.esmtp_features)
    try: s.login("alice@here.test", "wrong"); raise SystemExit("wrong password taken")
    except smtplib.SMTPAuthenticationError as e: assert e.smtp_code == 535, e
    s.login("alice@here.test", password)
    assert s.sendmail("alice@here.test", ["bob@here.test"], text(1)) == {}
    refused = s.sendmail("alice@here.test", ["bob@here.test", "nobody@here.test"], text(2))
    assert refused["nobody@here.test"][0] == 550, refused
    assert s.vrfy("bob")[0] == 252
with smtplib.SMTP_SSL(host, int(submissions), context=ctx) as s:
    s.login("alice@here.test", password)
    s.sendmail("alice@here.test", ["bob@here.test"], text(3))
`

const pythonFetches = pythonStart + `
import time
def login(p):
    p.user("bob@here.test"); p.pass_(password); return p
def again(end): # the server may hear of the end of the session before only now
    try: return login(poplib.POP3_SSL(host, int(pop3s), context=ctx))
    except poplib.error_proto as e:
        if b"[IN-USE]" not in e.args[0] or time.time() > end: raise
    time.sleep(0.1); return again(end)
p = poplib.POP3(host, int(pop3)); assert "STLS" in p.capa() and "USER" not in p.capa(), p.capa()
try: p.user("bob@here.test"); raise SystemExit("USER without TLS taken")
except poplib.error_proto as e: pass
p.stls(context=ctx); login(p); assert p.stat()[0] == 3, p.stat()
q = poplib.POP3_SSL(host, int(pop3s), context=ctx)
try: login(q); raise SystemExit("second session taken")
except poplib.error_proto as e: assert b"[IN-USE]" in e.args[0], e
q.close()
uids = p.uidl()[1]; assert len(set(u.split()[1] for u in uids)) == 3, uids
sizes = [int(l.split()[1]) for l in p.list()[1]]; assert p.stat()[1] == sum(sizes)
got = []
for n in 1, 2, 3:
    m = b"\r\n".join(p.retr(n)[1]) + b"\r\n"; assert len(m) == sizes[n-1], (len(m), sizes); got.append(m)
    assert b"\r\n".join(p.top(n, 1)[1]).endswith(b"\r\n\r\n."), p.top(n, 1)
for n in 1, 2, 3: assert sum(m.endswith(text(n)) for m in got) == 1, (n, got)
p.dele(1); p.rset(); p.dele(2); p.close()
p = again(time.time() + 60); assert p.stat()[0] == 3
for n in 1, 2: p.dele(n)
p.quit()
p = login(poplib.POP3_SSL(host, int(pop3s), context=ctx)); assert p.uidl()[1][0].split()[1] == uids[2].split()[1]; p.dele(1); p.quit()
`

func TestPythonSendsAndFetches(t *testing.T) {
	p := startPeers(t)
	args := []string{p.ip, port(p.submission), port(p.submissions), port(p.pop3), port(p.pop3s), p.certs.CertFile, password}
	p.good(t, "", "python3", append([]string{"-c", pythonSends}, args...)...)
	mtatest.Eventually(t, func() error {
		if n := len(p.files("bob")); n != 3 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	p.good(t, "", "python3", append([]string{"-c", pythonFetches}, args...)...)
	if n := len(p.files("bob")); n != 0 {
		t.Errorf("got %d messages after all were deleted, want none", n)
	}
}

func TestFetchmailFetches(t *testing.T) {
	p := startPeers(t)
	for _, c := range []struct{ what, addr, ssl string }{
		{"STLS", p.pop3, `sslproto "TLS1.2+"`},
		{"pop3s", p.pop3s, "ssl"},
	} {
		what := "fetchmail by " + c.what
		p.delivered(p.deposit(t, message(what), "bob"), "bob")
		rc := p.file(t, ".fetchmailrc", fmt.Sprintf("poll %s protocol pop3 port %s uidl user \"bob@here.test\" password \"%s\" %s sslcertck sslcertfile \"%s\" sslcommonname \"mx.here.test\" mda \"cat >> %s/fetched\"\n",
			p.ip, port(c.addr), password, c.ssl, p.certs.CertFile, p.home))
		p.good(t, "", "fetchmail", "--fetchmailrc", rc, "--nosyslog", "-v")
		b, err := os.ReadFile(filepath.Join(p.home, "fetched"))
		if err != nil || !strings.Contains(string(b), "Hello from "+what) {
			t.Errorf("%s: got %q, %v", c.what, b, err)
		}
		if n := len(p.files("bob")); n != 0 {
			t.Errorf("%s: %d messages are still there, want none", c.what, n)
		}
	}
}

func TestMsmtpSends(t *testing.T) {
	p := startPeers(t)
	for what, c := range map[string][2]string{"msmtp by STARTTLS": {p.submission, "tls_starttls on"}, "msmtp by TLS": {p.submissions, "tls_starttls off"}} {
		rc := p.file(t, ".msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls on\n%s\ntls_trust_file %s\nauth on\nuser alice@here.test\npassword \"%s\"\nfrom alice@here.test\n",
			p.ip, port(c[0]), c[1], p.certs.CertFile, password))
		p.good(t, strings.ReplaceAll(message(what), "\r\n", "\n"), "msmtp", "-C", rc, "bob@here.test")
		if m := p.wantMail(t, "bob", what); !strings.HasSuffix(m, message(what)) {
			t.Errorf("%s: got %q, want it to end in %q", what, m, message(what))
		}
	}
	rc := p.file(t, ".msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls off\nfrom x@away.test\n", p.ip, port(p.mx)))
	if status, out := p.run(t, message("no"), "msmtp", "-C", rc, "nobody@here.test"); status != 67 && status != 65 || !strings.Contains(out, "550 5.1.1") {
		t.Errorf("unknown user: got exit status %d, want that of an unknown user:\n%s", status, out)
	}
}

func TestMuttSendsAndFetches(t *testing.T) {
	p := startPeers(t)
	spoolfile := filepath.Join(p.home, "inbox")
	p.file(t, "inbox", "")
	for what, url := range map[string]string{"mutt by smtp": "smtp://alice%40here.test@" + p.submission, "mutt by smtps": "smtps://alice%40here.test@" + p.submissions} {
		rc := p.file(t, "muttrc", fmt.Sprintf("set ssl_starttls=yes\nset ssl_force_tls=yes\nset certificate_file=%q\nset ssl_usesystemcerts=yes\nset from=\"alice@here.test\"\nset smtp_url=%q\nset smtp_pass=%q\nset smtp_authenticators=plain\nset record=\"\"\nset spoolfile=%q\n",
			p.certs.CertFile, url, password, spoolfile))
		p.good(t, "Hello from "+what+"\n.\nGr\u00fc\u00dfe\n", "mutt", "-n", "-F", rc, "-s", what, "--", "bob@here.test")
		if m := p.wantMail(t, "bob", what); !strings.Contains(m, "Hello from "+what+"\r\n.\r\n") {
			t.Errorf("%s: got %q", what, m)
		}
	}
	for what, url := range map[string]string{"mutt by pop": "pop://bob%40here.test@" + p.pop3, "mutt by pops": "pops://bob%40here.test@" + p.pop3s} {
		p.delivered(p.deposit(t, message(what), "bob"), "bob")
		rc := p.file(t, "muttrc", fmt.Sprintf("set ssl_starttls=yes\nset ssl_force_tls=yes\nset certificate_file=%q\nset pop_pass=%q\nset pop_authenticators=\"user\"\nset pop_delete=yes\nset delete=yes\nset quit=yes\nset folder=%q\nset spoolfile=%q\nset mbox_type=mbox\nset move=no\nset confirmappend=no\nset confirmcreate=no\n",
			p.certs.CertFile, password, p.home, spoolfile))
		copied := filepath.Join(p.home, "copied")
		rc = p.file(t, "muttrc", readFile(t, rc)+"push '<copy-message><kill-line>"+copied+"<enter><delete-message><quit>'\n")
		p.good(t, "", "script", "-q", "-e", "-c", "mutt -n -F "+rc+" -f "+url, "/dev/null") // it reads on a terminal only
		if b, err := os.ReadFile(copied); err != nil || !strings.Contains(string(b), "Hello from "+what) {
			t.Errorf("%s: got %q, %v", what, b, err)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
