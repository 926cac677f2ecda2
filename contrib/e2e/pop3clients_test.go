package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// eachWay fetches a message by STLS and one by implicit TLS, which the client is told by a word of its own.
func (p *peers) eachWay(t *testing.T, stls, implicit string, fetch func(what, addr, word string)) {
	t.Helper()
	for what, way := range map[string][2]string{"STLS": {p.pop3, stls}, "pop3s": {p.pop3s, implicit}} {
		p.delivered(p.deposit(t, message(what), "bob"), "bob")
		fetch(what, way[0], way[1])
		if n := len(p.files("bob")); n != 0 {
			t.Errorf("%s: %d messages are still there, want none", what, n)
		}
	}
}

func TestMpopFetchesByEachMechanism(t *testing.T) {
	p := startPeers(t)
	for _, auth := range []string{"user", "plain", "login", "scram-sha-256"} {
		p.eachWay(t, "tls_starttls on", "tls_starttls off", func(what, addr, tls string) {
			box := filepath.Join(p.home, auth+what)
			rc := p.file(t, ".mpoprc", fmt.Sprintf("account default\nhost %s\nport %s\ntls on\n%s\ntls_trust_file %s\nauth %s\nuser bob@here.test\npassword \"%s\"\ndelivery mbox %s\nkeep off\nuidls_file %s/uidls\n",
				p.ip, port(addr), tls, p.certs.CertFile, auth, password, box, p.home))
			p.good(t, "", "mpop", "-C", rc)
			if got := readFile(t, box); !strings.Contains(got, "Hello from "+what) {
				t.Errorf("%s, %s: got %q", auth, what, got)
			}
		})
	}
	p.pop3d.Await(t, "event=pop3-login .*mech=SCRAM-SHA-256 ")
	rc := p.file(t, ".mpoprc", strings.ReplaceAll(readFile(t, filepath.Join(p.home, ".mpoprc")), password, "wrong"))
	if status, out := p.run(t, "", "mpop", "-C", rc); status != 77 {
		t.Errorf("wrong password: got exit status %d, want 77: %s", status, out)
	}
}

func TestGetmailFetches(t *testing.T) {
	p := startPeers(t)
	box := filepath.Join(p.home, "box") // its own deliveries are not for root
	p.delivered(p.deposit(t, message("getmail"), "bob"), "bob")
	rc := p.file(t, "getmailrc", fmt.Sprintf("[retriever]\ntype = SimplePOP3SSLRetriever\nserver = %s\nport = %s\nusername = bob@here.test\npassword = %s\nca_certs = %s\n[destination]\ntype = MDA_external\npath = /usr/bin/tee\narguments = (\"%s\",)\nallow_root_commands = true\n[options]\ndelete = true\n",
		p.ip, port(p.pop3s), password, p.certs.CertFile, box))
	p.good(t, "", "getmail", "--getmaildir", p.home, "--rcfile", rc)
	if got := readFile(t, box); !strings.Contains(got, "Hello from getmail") {
		t.Errorf("got %q, want the message", got)
	}
	if n := len(p.files("bob")); n != 0 {
		t.Errorf("%d messages are still there, want none", n)
	}
}

const netPOP3 = `
use strict; use Net::POP3;
my ($host, $port, $ca, $password, $stls) = @ARGV;
my @ssl = (SSL_ca_file => $ca, SSL_verifycn_name => "mx.here.test");
my $p = Net::POP3->new($host, Port => $port, SSL => !$stls, Timeout => 30, @ssl) or die "connect: $@";
exists $p->capa->{STLS} or die "no STLS" if $stls;
$p->starttls(@ssl) or die "starttls: " . $p->message if $stls;
my $n = $p->login("bob\@here.test", $password); defined $n && $n == 1 or die "login: " . $p->message;
my $size = $p->list(1); my $text = join "", @{$p->get(1)};
$text =~ /Hello from/ or die $text;
(my $wire = $text) =~ s/\r?\n/\r\n/g; length $wire == $size or die length($wire) . " octets, LIST says $size";
$p->uidl->{1} or die "no UIDL"; scalar @{$p->top(1, 1)} or die "no TOP";
$p->delete(1) or die; $p->quit or die;
`

func TestNetPOP3Fetches(t *testing.T) {
	p := startPeers(t)
	if status, out := p.run(t, "", "perl", "-MIO::Socket::SSL", "-MNet::POP3", "-e", "1"); status != 0 {
		mtatest.Lacking(t, "perl: %s", out)
	}
	p.eachWay(t, "1", "", func(_, addr, stls string) {
		p.good(t, "", "perl", "-e", netPOP3, "--", p.ip, port(addr), p.certs.CertFile, password, stls)
	})
}

func TestCurlLogsInByEachMechanism(t *testing.T) {
	p := startPeers(t)
	p.delivered(p.deposit(t, message("curl"), "bob"), "bob")
	for _, auth := range []string{"PLAIN", "LOGIN"} {
		got := p.good(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", p.certs.CertFile, "--login-options", "AUTH="+auth, "-u", "bob@here.test:"+password, "pop3://"+p.pop3+"/1")
		if !strings.HasSuffix(got, message("curl")) {
			t.Errorf("%s: got %q, want it to end in %q", auth, got, message("curl"))
		}
		p.pop3d.Await(t, "event=pop3-login .*mech="+auth+" ")
	}
}

// TestFail2BanReadsTheLog gives the filter what the server has really said.
func TestFail2BanReadsTheLog(t *testing.T) {
	p := startPeers(t)
	mtatest.Need(t, "fail2ban-regex")
	filter, err := filepath.Abs(filepath.Join("..", "fail2ban", "filter.d", "posthouse-pop3d.conf"))
	if err != nil {
		t.Fatal(err)
	}
	guess := func(user, secret string) {
		_, _ = p.run(t, "", "curl", "-sS", "--cacert", p.certs.CertFile, "-u", user+":"+secret, "pop3s://"+p.pop3s+"/")
	}
	guess("bob@here.test", "wrong")
	guess(`x client=192.0.2.9:1 reason=credentials mech=`, "wrong")
	p.delivered(p.deposit(t, message("in use"), "alice"), "alice") // without a mailbox there is nothing to hold
	c := p.login(t, "alice")
	guess("alice@here.test", password) // in use: no crime
	c.close()
	p.pop3d.Await(t, "reason=in-use")
	log := p.file(t, "log", strings.Join(p.pop3d.Log(), "\n")+"\n")
	out := p.good(t, "", "fail2ban-regex", "--out", "ip", log, filter)
	if got := strings.Fields(out); len(got) != 2 || got[0] != got[1] || !strings.HasPrefix(got[0], "127.") {
		t.Errorf("got %q, want the client twice", out)
	}
}
