package e2e_test

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// peerRoots is where packages are unpacked that cannot be installed side by side; POSTHOUSE_PEERS names another place.
const peerRoots = "/var/cache/posthouse-peers"

// needPeer returns the path of a program in a package's own root.
func needPeer(t *testing.T, pkg, path string) string {
	t.Helper()
	roots := os.Getenv("POSTHOUSE_PEERS")
	if roots == "" {
		roots = peerRoots
	}
	path = filepath.Join(roots, pkg, path)
	if _, err := os.Stat(path); err != nil {
		mtatest.Lacking(t, "%v", err)
	}
	return path
}

const eximConfig = `primary_hostname = client.test
exim_path = EXIM
spool_directory = DIR/exim
log_file_path = DIR/exim/%%slog
keep_environment =
never_users =
begin routers
out:
  driver = manualroute
  route_list = * %s
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = %s
  dnssec_request_domains =
  hosts_try_dane =
  tls_verify_certificates = DIR/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
`

// eximDir is a folder that Debian's Exim, which runs under a user of its own, can reach.
func eximDir(t *testing.T) string {
	t.Helper()
	needRoot(t)
	u, err := user.Lookup("Debian-exim")
	if err != nil {
		mtatest.Lacking(t, "%v", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ph-exim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, d := range []string{dir, filepath.Join(dir, "exim")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "exim"), uid, -1); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEximSendsByChunks: Exim pipelines BDAT where CHUNKING is offered.
func TestEximSendsByChunks(t *testing.T) {
	p := startPeers(t)
	exim := needPeer(t, "exim", "usr/sbin/exim4")
	dir := eximDir(t)
	mtatest.Write(t, filepath.Join(dir, "ca.pem"), readFile(t, p.certs.CertFile))
	conf := filepath.Join(dir, "exim.conf")
	mtatest.Write(t, conf, strings.NewReplacer("DIR", dir, "EXIM", exim).Replace(fmt.Sprintf(eximConfig, p.ip, port(p.mx))))
	for _, f := range []string{"ca.pem", "exim.conf"} {
		if err := os.Chmod(filepath.Join(dir, f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, log := range []string{"mainlog", "paniclog"} {
			if b, err := os.ReadFile(filepath.Join(dir, "exim", log)); err == nil && t.Failed() {
				t.Logf("%s:\n%s", log, b)
			}
		}
	})
	big := message("exim") + strings.Repeat(strings.Repeat("x", 76)+"\r\n.\r\n", 6000)
	for name, text := range map[string]string{"small": message("exim"), "large": big} {
		mark := p.smtpd.Mark()
		p.good(t, strings.ReplaceAll(text, "\r\n", "\n"), exim, "-C", conf, "-odf", "-oi", "-f", "alice@away.test", "bob@here.test", "alice@here.test")
		accepted := p.smtpd.AwaitFrom(t, mark, `event=accepted .*id=(\w+) from=<alice@away\.test> rcpts=2 .*proto=ESMTPS`)
		p.delivered(accepted[1], "bob")
		if m := string(p.one(t, "bob")); !strings.HasSuffix(m, text[strings.Index(text, "\r\n\r\n"):]) {
			t.Errorf("%s: got %.300q", name, m)
		}
	}
	log := readFile(t, filepath.Join(dir, "exim", "mainlog"))
	if !regexp.MustCompile(`=> bob@here\.test .* K `).MatchString(log) {
		t.Errorf("Exim did not use CHUNKING:\n%s", log)
	}
}

// TestOpenSMTPDSends: its smtp(1), by STARTTLS and in the clear.
func TestOpenSMTPDSends(t *testing.T) {
	p := startPeers(t)
	smtp := needPeer(t, "opensmtpd", "usr/bin/smtp")
	for _, proto := range []string{"smtp+tls", "smtp+notls"} {
		what := "opensmtpd by " + proto
		p.good(t, strings.ReplaceAll(message(what), "\r\n", "\n"), smtp, "-C", "-v", "-H", "client.test", "-F", "alice@away.test", "-s", proto+"://"+p.mx, "bob@here.test")
		if m := p.wantMail(t, "bob", what); !strings.HasSuffix(m, message(what)) {
			t.Errorf("%s: got %q", what, m)
		}
	}
}

// TestMsmtpAsksForReports: RET and NOTIFY reach the queue.
func TestMsmtpAsksForReports(t *testing.T) {
	p := startPeers(t)
	rc := p.file(t, ".msmtprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls on\ntls_trust_file %s\nauth on\nuser alice@here.test\npassword \"%s\"\nfrom alice@here.test\ndsn_notify success,failure\ndsn_return headers\n",
		p.ip, port(p.submission), p.certs.CertFile, password))
	p.queue.Terminate(t) // the envelope stays in the spool
	p.good(t, message("dsn"), "msmtp", "-C", rc, "bob@here.test")
	segments, err := filepath.Glob(filepath.Join(p.spool, "incoming", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range segments {
		all.WriteString(readFile(t, f))
	}
	for _, want := range []string{`"ret":"HDRS"`, `"notify":"SUCCESS,FAILURE"`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in the spool", want)
		}
	}
	p.restart(&p.queue)
	p.wantMail(t, "bob", "dsn")
}

const pythonExtensions = `
import sys, smtplib
host, port = sys.argv[1:]
with smtplib.SMTP(host, int(port), "client.test") as s:
    s.ehlo()
    for e in "dsn", "chunking", "smtputf8", "limits": assert s.has_extn(e), (e, s.esmtp_features)
    assert s.esmtp_features["limits"] == "RCPTMAX=1000", s.esmtp_features
    s.sendmail("alice@away.test", ["bob@here.test"], b"Subject: dsn\r\n\r\nx\r\n", ["RET=HDRS", "ENVID=a+2Bb"], ["NOTIFY=NEVER", "ORCPT=rfc822;b@here.test"])
    s.sendmail("\u00e4@away.test", ["bob@here.test"], "Subject: gr\u00fcn\r\n\r\nx\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
    try: s.sendmail("alice@away.test", ["bob@here.test"], b"x", ["RET=SOME"]); raise SystemExit("RET=SOME taken")
    except smtplib.SMTPSenderRefused as e: assert e.smtp_code == 501, e
    s.rset(); s.mail("alice@away.test"); s.rcpt("bob@here.test")
    s.send(b"BDAT 18\r\nSubject: chunk\r\n\r\nBDAT 3 LAST\r\nx\r\n")
    assert s.getreply()[0] == 250 and s.getreply()[0] == 250
`

func TestPythonUsesExtensions(t *testing.T) {
	p := startPeers(t)
	p.good(t, "", "python3", "-c", pythonExtensions, p.ip, port(p.mx))
	mtatest.Eventually(t, func() error {
		if n := len(p.files("bob")); n != 3 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
}

// TestSwaksSpeaksForOthers: a pipelined transaction, the PROXY protocol and XCLIENT.
func TestSwaksSpeaksForOthers(t *testing.T) {
	swaks := func(p *peers, args ...string) string {
		host, prt := p.ip, port(p.mx)
		return p.good(t, "", "swaks", append([]string{"--server", host, "--port", prt, "--helo", "client.test", "--from", "alice@away.test", "--to", "bob@here.test", "--h-Subject", "swaks"}, args...)...)
	}
	p := startPeers(t)
	swaks(p, "--pipeline", "--tls")
	p.wantMail(t, "bob", "swaks")

	x := &peers{start(t, options{more: "[smtpd]\nxclient_from = [\"127.0.0.0/8\"]\n"}), t.TempDir()}
	swaks(x, "--xclient-addr", "192.0.2.7", "--xclient-name", "spike.test", "--xclient-helo", "spike.test")
	x.smtpd.Await(t, `event=accepted .*client=192\.0\.2\.7:\d+ name=spike\.test`)

	y := &peers{start(t, options{more: "[smtpd]\nproxy_protocol_from = [\"127.0.0.0/8\"]\n"}), t.TempDir()}
	for _, version := range []string{"1", "2"} {
		from := y.smtpd.Mark()
		swaks(y, "--proxy-version", version, "--proxy-family", map[string]string{"1": "TCP4", "2": "AF_INET"}[version], "--proxy-protocol", "STREAM", "--proxy-command", "PROXY",
			"--proxy-source", "192.0.2.8", "--proxy-source-port", "4321", "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25")
		y.smtpd.AwaitFrom(t, from, `event=accepted .*client=192\.0\.2\.8:4321 `)
	}
}

// TestNmapFindsNothing: what its scripts for SMTP know.
func TestNmapFindsNothing(t *testing.T) {
	p := &peers{start(t, options{more: "[smtpd]\nmax_errors = 1000\n"}), t.TempDir()} // its scripts make more than ten
	out := p.good(t, "", "nmap", "-n", "-Pn", "-sT", "-p", port(p.mx), "--script", "+smtp-commands,+smtp-open-relay,+smtp-enum-users", "--script-args", "smtp-enum-users.methods={VRFY,EXPN,RCPT},smtp.domain=nmap.test", p.ip)
	for _, want := range []string{"CHUNKING", "DSN", "LIMITS RCPTMAX=1000", "doesn't seem to be an open relay"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestHeldMessageLeavesLater: FUTURERELEASE, from the command to the mailbox.
func TestHeldMessageLeavesLater(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	c := i.submit(t, "alice")
	begin := time.Now()
	for _, line := range []string{"MAIL FROM:<alice@here.test> HOLDFOR=2 BY=600;N", "RCPT TO:<bob@here.test>"} {
		if _, err := c.cmd("250", "%s", line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.cmd("250", "BDAT 0 LAST"); err != nil {
		t.Fatal(err)
	}
	i.queue.Await(t, "event=delivered .*to=<bob@here.test> by=local")
	if d := time.Since(begin); d < time.Second {
		t.Errorf("it was delivered after %v, want it held for two seconds", d)
	}
}
