package e2e_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// The accounts of a machine whose users get mail: the daemons under users of their own, and four people.
const (
	accounts = `root:x:0:0::/root:/bin/sh
daemon:x:1:1::/:/usr/sbin/nologin
list:x:38:38::/:/usr/sbin/nologin
posthouse-smtpd:x:901:901::/:/usr/sbin/nologin
posthouse-queue:x:902:902::/:/usr/sbin/nologin
posthouse-acme:x:904:904::/:/usr/sbin/nologin
posthouse-mail:x:903:903::/:/usr/sbin/nologin
`
	groups = `root:x:0:
posthouse-smtpd:x:901:
posthouse-queue:x:902:
posthouse-acme:x:904:
posthouse-mail:x:903:posthouse-queue
posthouse-spool:x:911:posthouse-smtpd,posthouse-queue
posthouse-users:x:912:posthouse-smtpd,posthouse-queue,posthouse-mail
posthouse-tls:x:913:posthouse-smtpd,posthouse-mail
posthouse-keys:x:914:posthouse-smtpd,posthouse-queue
`
	tlsGroup, usersGroup = 913, 912
	// hashed is the password, by crypt(3) of glibc.
	hashed = `$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0`
)

// people are the users with a home, by uid.
var people = map[string]int{"alice": 20001, "bob": 20002, "carol": 20003, "dora": 20004, elsewhere: 20010}

// elsewhere is who is not in /etc/passwd: the name service knows her, by libnss-extrausers.
const elsewhere = "erin"

// machine is an instance as it is installed: each daemon runs as its own user, and mail goes to users of the machine. Their
// accounts are in a mount namespace that the daemons share; the machine's own files stay as they are. It has all of /etc: a
// mount on a file there would go when somebody replaces that file, as useradd does.
type machine struct {
	*instance
	space  string // the namespace
	helper *mtatest.Program
}

func newMachine(t *testing.T, o options) *machine {
	t.Helper()
	needRoot(t)
	mtatest.Need(t, "unshare")
	mtatest.Need(t, "nsenter")
	mtatest.Need(t, "setpriv")
	o.inside += "\nmailboxes = \"system\"\n"
	o.users = []string{}
	m := &machine{instance: newInstance(t, o)}
	m.public()
	m.accounts()
	m.command("posthouse", "folders", "--config", m.conf)
	m.helper = m.run("as-user", "root")
	m.helper.Await(t, "event=ready")
	m.smtpd, m.queue, m.pop3d = m.run("smtpd", "posthouse-smtpd"), m.run("queue-runner", "posthouse-queue"), m.run("pop3d", "posthouse-mail")
	for _, d := range []*mtatest.Program{m.smtpd, m.queue, m.pop3d} {
		d.Await(t, "event=ready")
	}
	return m
}

// public lets all users through to what is theirs.
func (m *machine) public() {
	m.t.Helper()
	for path, mode := range map[string]os.FileMode{
		bin: 0o755, m.dir: 0o755, m.conf: 0o644, m.certs.CertFile: 0o644, m.certs.KeyFile: 0o640, filepath.Dir(m.certs.KeyFile): 0o755,
		filepath.Dir(filepath.Dir(m.certs.KeyFile)): 0o755, filepath.Join(m.dir, "users"): 0o640,
	} {
		if err := os.Chmod(path, mode); err != nil {
			m.t.Fatal(err)
		}
	}
	for path, group := range map[string]int{m.certs.KeyFile: tlsGroup, filepath.Join(m.dir, "users"): usersGroup} {
		if err := os.Chown(path, 0, group); err != nil {
			m.t.Fatal(err)
		}
	}
}

// accounts makes the homes, and the namespace in which their owners exist.
func (m *machine) accounts() {
	m.t.Helper()
	passwd, shadow, extra := accounts, "", ""
	for name, uid := range people {
		home := m.home(name)
		if err := os.MkdirAll(home, 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(home), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Chown(home, uid, uid); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Chmod(home, 0o700); err != nil {
			m.t.Fatal(err)
		}
		line := fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, uid, home)
		if name == elsewhere {
			extra = line
			continue
		}
		passwd += line
		shadow += fmt.Sprintf("%s:%s:20000:0:99999:7:::\n", name, hashed)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": groups, "shadow": shadow, "extrausers": extra, "nsswitch.conf": "passwd: files extrausers\ngroup: files\n"} {
		mtatest.Write(m.t, filepath.Join(m.dir, name), text)
		if err := os.Chmod(filepath.Join(m.dir, name), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(m.dir, "shadow"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", `cp -a /etc "$0/etc"; chmod 755 "$0/etc" && for f in passwd group shadow nsswitch.conf; do cp -p "$0/$f" "$0/etc/$f" || exit 1; done; mount --bind "$0/etc" /etc || exit 1; if [ -d /var/lib/extrausers ]; then mount -t tmpfs none /var/lib/extrausers && cp "$0/extrausers" /var/lib/extrausers/passwd && chmod 755 /var/lib/extrausers || exit 1; fi; echo there; exec cat`, m.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "there\n" {
		mtatest.Lacking(m.t.(*testing.T), "unshare and mount: %q, %v", line, err)
	}
	m.space = fmt.Sprintf("--mount=/proc/%d/ns/mnt", cmd.Process.Pid)
}

func (m *machine) home(name string) string { return filepath.Join(m.dir, "home", name) }

// run starts a daemon as a user.
func (m *machine) run(name, user string) *mtatest.Program {
	m.t.Helper()
	argv := []string{m.space, "--", filepath.Join(bin, name), "--config", m.conf}
	if user != "root" {
		argv = []string{m.space, "--", "setpriv", "--reuid=" + user, "--regid=" + user, "--init-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all",
			filepath.Join(bin, name), "--config", m.conf}
	}
	d := mtatest.Start(m.t, "nsenter", argv...)
	d.Name = name
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, d)
	return d
}

// command runs a program of ours as root of the machine, and returns what it prints.
func (m *machine) command(name string, args ...string) string {
	m.t.Helper()
	out, err := exec.Command("nsenter", append([]string{m.space, "--", filepath.Join(bin, name)}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// owns makes a file of a user's.
func (m *machine) owns(name, file, text string, mode os.FileMode) {
	m.t.Helper()
	path := filepath.Join(m.home(name), file)
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Lchown(path, people[name], people[name]); err != nil {
		m.t.Fatal(err)
	}
}

// send sends one message and returns its id.
func (m *machine) send(subject string, to ...string) string {
	m.t.Helper()
	c, err := dialSMTP(m.mx)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.close()
	if _, err := c.cmd("250", "EHLO client.test"); err != nil {
		m.t.Fatal(err)
	}
	for n, local := range to {
		to[n] = m.address(local)
	}
	id, _, err := c.send([]byte("Subject: "+subject+"\r\n\r\n.text\r\n"), "sender@far.test", to...)
	if err != nil {
		m.t.Fatal(err)
	}
	return id
}

// inbox lists the messages below a folder of a user's, by their subjects, and holds all of it to its owner and modes.
func (m *machine) inbox(name, folder string) []string {
	m.t.Helper()
	dir := filepath.Join(m.home(name), folder)
	var subjects []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		sys := st.Sys().(*syscall.Stat_t)
		want := os.FileMode(0o600)
		if st.IsDir() {
			want = 0o700
		}
		if int(sys.Uid) != people[name] || int(sys.Gid) != people[name] || st.Mode().Perm() != want {
			m.t.Errorf("%s is %d:%d %v, want %s's own and %v", path, sys.Uid, sys.Gid, st.Mode(), name, want)
		}
		if in := filepath.Base(filepath.Dir(path)); st.IsDir() || in != "new" && in != "cur" {
			return nil
		}
		b, err := os.ReadFile(path)
		_, subject, _ := strings.Cut(string(b), "\nSubject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		subjects = append(subjects, subject)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return subjects
}

// any runs any program as root of the machine.
func (m *machine) any(argv ...string) error {
	out, err := exec.Command("nsenter", append([]string{m.space, "--"}, argv...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%q: %w: %s", argv, err, out)
	}
	return nil
}
