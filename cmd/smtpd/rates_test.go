package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const oneTransaction = "S: 220 .*\nC: HELO c.test\nS: 250 .*\nC: MAIL FROM:<a@away.test>\nS: 250 .*\nC: RCPT TO:<alice@here.test>\n"

// TestLimitsOutliveARestart and so does the queue's length, as queue-runner told it.
func TestLimitsOutliveARestart(t *testing.T) {
	p := startDaemon(t)
	addr := p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	text, err := os.ReadFile(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Write(t, p.conf, string(text)+"[smtpd.rate]\nmessages_per_client = \"1/d\"\n")
	p.Signal(t, syscall.SIGHUP)
	p.Next(t, "event=reloaded")
	say(t, addr, "S: 250 .*\n")
	say(t, addr, "S: 450 4.7.1 Too many messages, try again in 24 hours\n")
	p.Signal(t, syscall.SIGTERM)
	p.Next(t, "event=stopped")
	if st, err := os.Stat(filepath.Join(p.dir, "state/smtpd/rates.json")); err != nil || st.Mode() != 0o600 {
		t.Fatalf("got %v, %v; want a file of mode 0600", st, err)
	}

	p.restart(t)
	addr = p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	say(t, addr, "S: 450 4.7.1 Too many messages, try again in 24 hours\n")
	p.Next(t, `event=rejected .* stage=rcpt reply="450 4\.7\.1 .*" from=<a@away\.test> to=<alice@here\.test>`)
	p.Signal(t, syscall.SIGTERM)
	p.Next(t, "event=stopped")

	mtatest.Write(t, filepath.Join(p.dir, "state/smtpd/rates.json"), strings.Repeat("x", 100))
	p.restart(t)
	p.Next(t, "event=state-failed .*rates.json")
	addr = p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	say(t, addr, "S: 250 .*\n")
}

func say(t *testing.T, addr, script string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, oneTransaction+script, nil)
}

// limited says whether a message of a client is one too many.
func limited(t *testing.T, addr, client string) bool {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
	said, reply := bufio.NewReader(nc), ""
	for _, line := range []string{"", "HELO c.test\r\n", "MAIL FROM:<a@away.test>\r\n", "RCPT TO:<alice@here.test>\r\n"} {
		if _, err := io.WriteString(nc, line); err != nil {
			t.Fatal(err)
		}
		if reply, err = said.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if !regexp.MustCompile(`^(250 .*|450 4\.7\.1 Too many messages, try again in 2[34] hours?)\r\n$`).MatchString(reply) {
		t.Fatalf("got %q", reply)
	}
	return strings.HasPrefix(reply, "450")
}

// TestSeveralHostsLimitTogether what they would each for itself.
func TestSeveralHostsLimitTogether(t *testing.T) {
	url, stop := mtatest.StartRedis(t)
	var hosts []*process
	var addrs []string
	for range 2 {
		p := startDaemon(t)
		addrs = append(addrs, p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1])
		p.Next(t, "event=ready")
		text, err := os.ReadFile(p.conf)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(p.dir, "redis.url")
		mtatest.Write(t, p.conf, string(text)+"[smtpd.rate]\nmessages_per_client = \"1/d\"\n[shared]\nredis_url_file = \""+file+"\"\n")
		mtatest.Write(t, file, "redis://:hunter2@\n")
		p.Signal(t, syscall.SIGHUP)
		if line := p.Next(t, `.*shared\.redis_url_file.*no URL as in.*`)[0]; strings.Contains(line, "hunter2") {
			t.Errorf("the log shows the password: %s", line)
		}
		p.Next(t, "event=reload-failed")
		mtatest.Write(t, file, url+"\n")
		p.Signal(t, syscall.SIGHUP)
		p.Next(t, "event=reloaded")
		hosts = append(hosts, p)
	}
	client, n := "", 0
	mtatest.Eventually(t, func() error { // a host counts for itself where the machine is too busy for the store to answer in time
		n++
		client = fmt.Sprintf("127.%d.%d.1", n>>8, n&255) // another one each time
		first, second := limited(t, addrs[0], client), limited(t, addrs[1], client)
		if first {
			t.Fatalf("%s: the first message was refused", client)
		}
		if !second {
			return fmt.Errorf("%s: the second message was taken", client)
		}
		return nil
	})
	stop()
	if limited(t, addrs[1], client) {
		t.Error("the store is away, and it has counted nothing itself: got the message refused")
	}
	hosts[1].Next(t, "event=shared-away address=")
	for _, p := range hosts {
		p.Signal(t, syscall.SIGTERM)
		p.Next(t, "event=stopped")
	}
}
