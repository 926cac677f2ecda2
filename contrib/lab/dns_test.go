package lab_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// daemon starts a program in a namespace and ends it with the test. What it says is shown when the test fails.
func (n namespace) daemon(t *testing.T, env []string, name string, args ...string) *bytes.Buffer {
	t.Helper()
	out := &bytes.Buffer{}
	cmd := exec.Command("ip", append([]string{"netns", "exec", string(n), name}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // ip has become the program
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("%s:\n%s", name, out)
		}
	})
	return out
}

// startDNS serves zones in the world: lab. is signed, bogus.lab. is not although lab. says so, and others are not and nobody
// says so. In the sender's namespace a resolver on 127.0.0.1 validates.
func startDNS(t *testing.T, sender, world namespace, zones map[string]string) {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf(`server:
  listen: %[1]s@53
  rundir: %[2]s
  user: root:root
database:
  storage: %[2]s/db
policy:
  - id: hand
    manual: on
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: %[2]s
    file: "%%s.zone"
    zonefile-sync: -1
zone:
`, dnsAddr, dir)
	for name, text := range zones {
		mtatest.Write(t, filepath.Join(dir, name+".zone"), fmt.Sprintf("$ORIGIN %[1]s.\n$TTL 60\n@ SOA ns.%[1]s. hostmaster.%[1]s. 1 60 60 3600 60\n@ NS ns.%[1]s.\nns A %[2]s\n%[3]s", name, dnsAddr, text))
		conf += "  - domain: " + name + ".\n"
		if name == "lab" {
			conf += "    dnssec-signing: on\n    dnssec-policy: hand\n"
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	knot := filepath.Join(dir, "knot.conf")
	mtatest.Write(t, knot, conf)
	run(t, "keymgr", "-c", knot, "lab.", "generate", "ksk=yes", "zsk=yes", "algorithm=ecdsap256sha256")
	ds := ""
	for line := range strings.Lines(run(t, "keymgr", "-c", knot, "lab.", "ds")) {
		if f := strings.Fields(line); len(f) == 6 && f[4] == "2" {
			ds = strings.Join(f, " ")
		}
	}
	if ds == "" {
		t.Fatal("keymgr gives no DS record")
	}
	world.daemon(t, nil, "knotd", "-c", knot)

	stubs := ""
	for name := range zones {
		if !strings.HasSuffix(name, ".lab") {
			stubs += fmt.Sprintf("stub-zone:\n  name: \"%s.\"\n  stub-addr: %s\n", name, dnsAddr)
		}
	}
	unbound := filepath.Join(dir, "unbound.conf")
	mtatest.Write(t, unbound, fmt.Sprintf(`server:
  interface: 127.0.0.1
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "%[1]s"
  pidfile: ""
  use-syslog: no
  logfile: ""
  num-threads: 1
  module-config: "validator iterator"
  trust-anchor: "%[2]s"
  local-zone: "2.0.192.in-addr.arpa." nodefault
%[3]sremote-control:
  control-enable: no
`, dir, ds, stubs))
	sender.daemon(t, nil, "unbound", "-d", "-c", unbound)
	mtatest.Eventually(t, func() error {
		out, err := exec.Command("ip", "netns", "exec", string(sender), "dig", "+time=1", "+tries=1", "+adflag", "@127.0.0.1", "lab.", "SOA").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("status: NOERROR")) || !bytes.Contains(out, []byte(" ad;")) && !bytes.Contains(out, []byte(" ad ")) {
			return fmt.Errorf("the resolver does not validate: %w\n%s", err, out)
		}
		return nil
	})
}
