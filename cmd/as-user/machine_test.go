package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// patience ends a test that waits for a process that says nothing.
const patience = 2 * time.Minute

// The accounts of the test's machine. It has them in an /etc and a mount namespace of its own: the machine's own files stay as they are, and whoever replaces one of them, as useradd does, does not take ours away.
const (
	passwd = `root:x:0:0::/root:/bin/sh
daemon:x:1:1::/:/bin/sh
list:x:38:38::/:/bin/sh
posthouse-smtpd:x:901:901::/:/bin/false
posthouse-queue:x:902:902::/:/bin/false
posthouse-mail:x:903:903::/:/bin/false
alice:x:20001:20001::/nowhere/alice:/bin/bash
bob:x:20002:20002::/nowhere/bob:/usr/sbin/nologin
over:x:20003:20003::/:/bin/sh
locked:x:20004:20004::/:/bin/sh
empty:x:20005:20005::/:/bin/sh
old:x:20006:20006::/:/bin/sh
md5:x:20007:20007::/:/bin/sh
mallory:x:20009:20009::/:/bin/sh
toor:x:0:0::/root:/bin/sh
minus:x:4294967295:20008::/:/bin/sh
nobody:x:65534:65534::/:/bin/false
`
	group = "root:x:0:\nalice:x:20001:\nbob:x:20002:\nmail:x:8:bob\nproject:x:30000:alice,bob\n"
	// The password is "secret wörd", hashed by crypt(3) of glibc with libxcrypt.
	yescrypt = `$y$j9T$saltsaltsalt$mxvrF4ddMAtAnG6kitZUHvuYcaODJcc/GYOeEVobER2`
	sha512   = `$6$saltsalt$0ud0GyxDUk3izoJj6ugH7U4CT0EYQkpJ4kjrHLOIK80sMg6n8WV/fzKdcELHwnsjtLUENi6ucERJbPE5idCjR.`
	shadowed = "root:" + yescrypt + ":20000:0:99999:7:::\n" +
		"alice:" + yescrypt + ":20000:0:99999:7:::\n" +
		"bob:" + sha512 + ":20000:0:99999:7:::\n" +
		"over:" + yescrypt + ":20000:0:99999:7::20001:\n" +
		"locked:!" + yescrypt + ":20000:0:99999:7:::\n" +
		"empty::20000:0:99999:7:::\n" +
		"old:" + yescrypt + ":10000:0:90:7:30::\n" +
		"md5:$1$saltsalt$1JKuRokqPHXruCETfgL810:20000:0:99999:7:::\n" +
		"list:" + yescrypt + ":20000:0:99999:7:::\n"
	password = "secret wörd"
)

// stage stands in for deliver-local and pop3d: it does what the first line that comes in says.
const stage = "#!/bin/sh\nread -r line\neval \"$line\"\n"

// asked stands in for a checkpassword program: it does what the password says, in which $login is who is asked for.
const asked = "#!/bin/bash\nIFS= read -r -d '' login <&3\nIFS= read -r -d '' password <&3\neval \"$password\"\n"

// pam is a service of PAM.
const pam = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"

// The accounts of the name service: libnss-extrausers reads them.
const (
	extraPasswd = `erin:x:20010:20010::/nowhere/erin:/bin/sh
alice:x:20099:20099::/nowhere/another:/bin/sh
evil:x:0:0::/root:/bin/sh
low:x:999:999::/:/bin/sh
20002:x:20011:20011::/:/bin/sh
`
	extraGroup = "erin:x:20010:\nlab:x:30001:erin,alice\n"
	nsswitch   = "passwd: files extrausers\ngroup: files extrausers\nshadow: files\n"
)

// await waits for a line of the log that holds all the parts.
func (m *machine) await(parts ...string) string {
	m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for line := range strings.Lines(m.log.String()) {
			if holds(line, parts) {
				return line
			}
		}
	}
	m.t.Fatalf("no line with %q in\n%s", parts, m.log)
	return ""
}

func holds(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// machine is an as-user at work.
type machine struct {
	t      *testing.T
	dir    string
	log    *mtatest.Log
	client asuser.Client
	cmd    *exec.Cmd
}

// program is as-user, built once.
var program string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv("AS_USER_TEST_SOCKET") != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "as-user")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "as-user")
	if err := mtatest.BuildInto(dir, "."); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		mtatest.Lacking(t, "needs root")
	}
	mtatest.Need(t, "unshare")
}

func start(t *testing.T, settings ...string) *machine {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "as-user") // others must get through to it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, log: &mtatest.Log{}, client: asuser.Client{Path: filepath.Join(dir, "run/as-user", asuser.SocketName)}}
	for _, d := range []string{".", "bin", "extra", "run", "run/as-user", "state", "spool"} {
		path := filepath.Join(dir, d)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	m.write("bin/as-user", string(b), 0o755)
	m.write("bin/deliver-local", stage, 0o755)
	m.write("bin/pop3d", stage, 0o755)
	m.write("passwd", passwd, 0o644)
	m.write("group", group, 0o644)
	m.write("shadow", shadowed, 0o600)
	m.write("pam", pam, 0o644)
	m.write("bin/checkpassword", asked, 0o755)
	m.write("extra/passwd", extraPasswd, 0o644)
	m.write("extra/group", extraGroup, 0o644)
	m.write("nsswitch", nsswitch, 0o644)
	m.write("bin/getent", "#!/bin/sh\n[ -e "+dir+"/hangs ] && echo >"+dir+"/hung && exec sleep 1000\nexec "+dir+"/bin/getent.real \"$@\"\n", 0o755)
	m.write("posthouse.toml", fmt.Sprintf("hostname = \"mail.example.org\"\nrun = %q\nstate = %q\nspool.path = %q\n",
		dir+"/run", dir+"/state", dir+"/spool")+strings.ReplaceAll(strings.Join(settings, "\n"), "DIR", dir), 0o644)
	m.cmd = exec.Command("unshare", "-m", "sh", "-c", `cp -a /etc "$0/etc"; chmod 755 "$0/etc" && for f in passwd group shadow; do cp -p "$0/$f" "$0/etc/$f" || exit 1; done; mkdir -p "$0/etc/pam.d" && cp "$0/pam" "$0/etc/pam.d/posthouse" && cp "$0/nsswitch" "$0/etc/nsswitch.conf" && mount --bind "$0/etc" /etc && cp /usr/bin/getent "$0/bin/getent.real" && mount --bind "$0/bin/getent" /usr/bin/getent && { [ ! -d /var/lib/extrausers ] || mount --bind "$0/extra" /var/lib/extrausers; } && exec "$0/bin/as-user" -c "$0/posthouse.toml"`, dir)
	m.cmd.Stderr, m.cmd.Stdout = m.log, m.log
	m.cmd.Env = append(os.Environ(), "SECRET_OF_ROOT=1")
	passwords, err := os.Open("/etc/shadow") // what it is given by who has started it is for nobody else
	if err != nil {
		t.Fatal(err)
	}
	defer passwords.Close()
	m.cmd.ExtraFiles = []*os.File{passwords}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Signal(syscall.SIGTERM)
		if err := m.cmd.Wait(); err != nil {
			t.Errorf("as-user ended with %v\n%s", err, m.log)
		}
	})
	m.await("event=ready")
	return m
}

func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(m.dir, name), mode); err != nil {
		m.t.Fatal(err)
	}
}

// pipes are a process's standard input, with a line in it, and its standard output.
func (m *machine) pipes(line string) (in, out *os.File, output *os.File) {
	m.t.Helper()
	in, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := io.WriteString(w, line+"\n"); err != nil {
		m.t.Fatal(err)
	}
	w.Close()
	output, out, err = os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	return in, out, output
}

// deliver has a user do what the line says, and returns what it has printed.
func (m *machine) deliver(user, line string) (printed string, status int, err error) {
	m.t.Helper()
	in, out, output := m.pipes(line)
	defer output.Close()
	status, err = m.client.Deliver(m.t.Context(), user, in, out)
	if err != nil {
		return "", status, err
	}
	b, rerr := io.ReadAll(output)
	if rerr != nil {
		m.t.Fatal(rerr)
	}
	return string(b), status, nil
}

// needNSS is for accounts that are not in /etc/passwd.
func needNSS(t *testing.T) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib*/libnss_extrausers.so.2")
	if _, err := os.Stat("/var/lib/extrausers"); err == nil && len(found) > 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this needs libnss-extrausers (apt-get install libnss-extrausers)")
	}
	t.Skip("needs libnss-extrausers")
}

// needPAM is for the program of contrib/checkpassword.
func needPAM(t *testing.T) {
	t.Helper()
	_, err := os.Stat("/usr/bin/python3")
	found, _ := filepath.Glob("/lib*/*/security/pam_unix.so")
	if err == nil && len(found) > 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this needs /usr/bin/python3 and pam_unix (apt-get install python3 libpam-modules): %v", err)
	}
	t.Skip("needs /usr/bin/python3 and pam_unix")
}
