package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log/maillog
maillog_file_prefixes = DIR
myhostname = client.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [NEXT]:PORT
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_tls_loglevel = 1
smtputf8_enable = yes
alias_maps =
alias_database =
local_recipient_maps =
`

const postfixMaster = `IP:LISTEN inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
virtual unix - n n - - virtual
`

// startPostfix runs an instance of Postfix that sends all to one of our listeners, until the test ends; it returns its
// address. What more says goes behind its main.cf.
func startPostfix(t *testing.T, to, more string) (addr, dir string) {
	t.Helper()
	needRoot(t)
	postfix := mtatest.Need(t, "postfix")
	dir, err := os.MkdirTemp("", "ph-postfix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ip := ownIP()
	listen := fmt.Sprint(freePort(t, ip))
	fill := strings.NewReplacer("DIR", dir, "IP", ip, "NEXT", host(to), "PORT", port(to), "LISTEN", listen)
	for _, d := range []string{"", "conf", "queue", "data", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"main.cf": postfixMain + more, "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(dir, "conf", name), []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	command := func(verb string) {
		if out, err := exec.Command(postfix, "-c", filepath.Join(dir, "conf"), verb).CombinedOutput(); err != nil {
			t.Errorf("postfix %s: %v: %s", verb, err, out)
		}
	}
	command("start")
	t.Cleanup(func() {
		if b, err := os.ReadFile(filepath.Join(dir, "log", "maillog")); t.Failed() {
			t.Logf("maillog: %s, %v", b, err)
		}
		command("stop")
	})
	return ip + ":" + listen, dir
}

// TestPostfixSends: pipelined and over TLS, with the parameters of DSN and an address beyond ASCII.
func TestPostfixSends(t *testing.T) {
	p := startPeers(t)
	addr, _ := startPostfix(t, p.mx, "smtp_tls_security_level = encrypt\n")
	var c *smtpConn
	mtatest.Eventually(t, func() (err error) { c, err = dialSMTP(addr); return err })
	defer c.close()
	p.queue.Terminate(t) // the envelopes stay in the spool
	for _, line := range []string{
		"EHLO test", "MAIL FROM:<alice@away.test> RET=HDRS ENVID=a+2Bb", "RCPT TO:<bob@here.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@here.test",
	} {
		if _, err := c.cmd("250", "%s", line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.cmd("354", "DATA"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("250", "%s.", string(stuff([]byte(message("postfix"))))); err != nil {
		t.Fatal(err)
	}
	p.smtpd.Await(t, `event=accepted .*from=<alice@away\.test> rcpts=1 .*proto=ESMTPS`)
	if _, err := c.cmd("250", "MAIL FROM:<\u00e4@away.test> SMTPUTF8"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("250", "RCPT TO:<bob@here.test>"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("354", "DATA"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("250", "Subject: gr\u00fcn\r\n\r\nx\r\n."); err != nil {
		t.Fatal(err)
	}
	p.smtpd.Await(t, `event=accepted .*from=<\S+@away\.test> rcpts=1 .*proto=UTF8SMTPS`)
	var all strings.Builder
	segments, err := filepath.Glob(filepath.Join(p.spool, "incoming", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range segments {
		all.WriteString(readFile(t, f))
	}
	for _, want := range []string{`"ret":"HDRS"`, `"envid":"a+2Bb"`, `"notify":"SUCCESS,FAILURE","orcpt":"rfc822;b@here.test"`, `"sender":"` + "\u00e4" + `@away.test"`} {
		if !strings.Contains(strings.ReplaceAll(all.String(), `\u002b`, "+"), want) {
			t.Errorf("no %s in the spool", want)
		}
	}
	p.restart(&p.queue)
	mtatest.Eventually(t, func() error {
		if n := len(p.files("bob")); n != 2 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
}

// TestPostfixSubmits: as the outgoing server of a machine whose mail a provider takes, with a login and a verified host.
func TestPostfixSubmits(t *testing.T) {
	p := startPeers(t)
	more := fmt.Sprintf(`smtp_tls_security_level = secure
smtp_tls_secure_cert_match = mx.here.test
smtp_tls_CAfile = %s
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_mechanism_filter = MECH
smtp_sasl_password_maps = static:{alice@here.test:%s}
`, p.certs.CertFile, password)
	for _, c := range []struct {
		mech, to string
		wrap     bool
	}{{"plain", p.submission, false}, {"login", p.submissions, true}} {
		conf := strings.Replace(more, "MECH", c.mech, 1)
		if c.wrap {
			conf += "smtp_tls_wrappermode = yes\n"
		}
		addr, dir := startPostfix(t, c.to, conf)
		submitted(t, addr, "alice@here.test", message("postfix "+c.mech))
		_, body, _ := strings.Cut(message("postfix "+c.mech), "\r\n\r\n") // Postfix adds to the header
		if m := p.wantMail(t, "bob", "postfix "+c.mech); body == "" || !strings.HasSuffix(m, "\r\n\r\n"+body) || !strings.Contains(m, "with ESMTPSA") {
			t.Errorf("%s: got %q", c.mech, m)
		}
		p.smtpd.Await(t, `event=login .*login=alice@here\.test.* mech=`+strings.ToUpper(c.mech))
		// A sender that is not the login's comes back to Postfix with the reason.
		submitted(t, addr, "bob@here.test", message("not mine"))
		mtatest.Eventually(t, func() error {
			b, err := os.ReadFile(filepath.Join(dir, "log", "maillog"))
			if err == nil && !strings.Contains(string(b), "dsn=5.7.1, status=bounced") {
				err = fmt.Errorf("no bounce in the log: %s", b)
			}
			return err
		})
	}
}

// submitted hands a message for bob to a server.
func submitted(t *testing.T, addr, from, text string) {
	t.Helper()
	var c *smtpConn
	mtatest.Eventually(t, func() (err error) { c, err = dialSMTP(addr); return err })
	defer c.close()
	for _, step := range [][2]string{{"250", "EHLO test"}, {"250", "MAIL FROM:<" + from + ">"}, {"250", "RCPT TO:<bob@here.test>"}, {"354", "DATA"},
		{"250", string(stuff([]byte(text))) + "."}, {"221", "QUIT"}} {
		if _, err := c.cmd(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
}
