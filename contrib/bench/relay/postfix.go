package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// postfix is an instance with its own configuration, queue and log, with Postfix's defaults but for what the task asks:
// a listener on the loopback interface, one next hop, no DNS.
type postfix struct{ dir string }

func (p *postfix) name() string { return "postfix" }

const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log/maillog
maillog_file_prefixes = %[1]s
myhostname = mx.here.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:%[3]s
disable_dns_lookups = yes
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 1000
default_process_limit = 200
default_destination_concurrency_limit = 100
initial_destination_concurrency = 20
alias_maps =
alias_database =
local_recipient_maps =
`

const masterCF = `%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
`

func (p *postfix) start(ctx context.Context, sink string) (string, error) {
	if err := os.RemoveAll(p.dir); err != nil {
		return "", err
	}
	for _, d := range []string{"conf", "queue", "data", "log"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			return "", err
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return "", err
	}
	_, port, _ := strings.Cut(sink, ":")
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(mainCF, p.dir, addr, port), "master.cf": fmt.Sprintf(masterCF, addr),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, "conf", name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "postfix", filepath.Join(p.dir, "data")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	if err := p.command(ctx, "start"); err != nil {
		return "", err
	}
	return addr, answers(ctx, addr)
}

func (p *postfix) command(ctx context.Context, verb string) error {
	out, err := exec.CommandContext(ctx, "postfix", "-c", filepath.Join(p.dir, "conf"), verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix %s: %w: %s", verb, err, out)
	}
	return nil
}

// master is the process id of the master daemon, whose children all others are.
func (p *postfix) master() (int, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func (p *postfix) cpu() (time.Duration, error) {
	pid, err := p.master()
	if err != nil {
		return 0, err
	}
	return treeCPU(pid)
}

func (p *postfix) stop() error { return p.command(context.Background(), "stop") }
