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

// inItsRoot starts OpenSMTPD's daemon, whose paths and users are fixed when it is built, in a root of its own: the machine's
// with the package, its users and its folders over it, seen by nobody else. $1 is the folder of the test, $2 the package.
const inItsRoot = `set -eu
dir=$1 peer=$2
mount -t tmpfs -o mode=755 tmpfs "$dir/over"
mkdir "$dir/over/up" "$dir/over/work" "$dir/over/root"
cp -a "$peer/usr" "$dir/over/up"
mount -t overlay -o "lowerdir=/,upperdir=$dir/over/up,workdir=$dir/over/work" overlay "$dir/over/root"
root=$dir/over/root
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$dir/mail" "$root/home"
for u in opensmtpd:61001 opensmtpq:61002 bob:61003; do
	echo "${u%:*}:x:${u#*:}:${u#*:}::/home/${u%:*}:/bin/sh" >>"$root/etc/passwd"
	echo "${u%:*}:x:${u#*:}:" >>"$root/etc/group"
done
mkdir -p "$root/home/opensmtpd" "$root/home/bob" "$root/var/spool/smtpd" "$root/run" "$root/var/lib/opensmtpd/empty"
chmod 711 "$root/var/spool/smtpd"
chmod 755 "$root/var/lib/opensmtpd/empty"
chown 61003:61003 "$root/home/bob"
cp "$dir/smtpd.conf" "$root/etc/"
exec chroot "$root" /usr/sbin/smtpd -d -f /etc/smtpd.conf
`

// TestOpenSMTPDReceives: it takes no SMTPUTF8, so what needs that comes back. It offers no TLS here, since Debian's build has
// none that works: every handshake ends with an internal error of its own, swaks' too.
func TestOpenSMTPDReceives(t *testing.T) {
	t.Parallel()
	needRoot(t)
	peer := strings.TrimSuffix(needPeer(t, "opensmtpd", "usr/sbin/smtpd"), "/usr/sbin/smtpd")
	dir := t.TempDir()
	for _, d := range []string{"over", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) { // its users go through them
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ip := ownIP()
	listen := fmt.Sprint(freePort(t, ip))
	mtatest.Write(t, filepath.Join(dir, "smtpd.conf"), strings.NewReplacer("IP", ip, "LISTEN", listen).Replace(`
listen on IP port LISTEN hostname mx.far.test
action "in" maildir "/home/bob/Maildir"
match from any for rcpt-to { "bob@far.test" } action "in"
`))
	var said strings.Builder
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inItsRoot, "sh", dir, peer)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("OpenSMTPD: %s", said.String())
		}
	})
	addr := ip + ":" + listen
	mtatest.Eventually(t, func() error {
		c, err := dialSMTP(addr)
		if err == nil {
			c.close()
		}
		return err
	})
	i := start(t, options{users: []string{"alice"}, more: "[[route]]\ndomain = \"far.test\"\nto = \"smtp:" + addr + "\"\n"})
	sendFar(t, i, "", "", maildir(filepath.Join(dir, "mail", "bob", "Maildir")))
	id := sendUTF8(t, i)
	i.queue.Await(t, "event=failed id="+id+" to=<j\xc3\xbcrgen@far.test>.* reply=\"553 5.6.7 ")
}

// sendUTF8 sends a message whose recipient has a local part beyond ASCII.
func sendUTF8(t *testing.T, i *instance) (id string) {
	t.Helper()
	c := i.submit(t, "alice")
	defer c.close()
	for _, step := range [][2]string{{"250", "MAIL FROM:<alice@here.test> SMTPUTF8 BODY=8BITMIME"}, {"250", "RCPT TO:<j\xc3\xbcrgen@far.test>"}, {"354", "DATA"}} {
		if _, err := c.cmd(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
	said, err := c.cmd("250", "From: alice@here.test\r\nTo: J\xc3\xbcrgen <j\xc3\xbcrgen@far.test>\r\nSubject: gr\xc3\xbcn\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n.")
	if err != nil {
		t.Fatal(err)
	}
	return queuedAs.FindStringSubmatch(said)[1]
}
