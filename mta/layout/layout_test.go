package layout_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func read(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "posthouse.toml")
	if err := os.WriteFile(path, []byte("hostname = \"mail.example.org\"\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The files that packages install are what `posthouse folders` prints of the defaults.
func TestInstalledFilesAreRendered(t *testing.T) {
	for file, want := range map[string]string{
		"../../etc/sysusers.d/posthouse.conf": layout.Sysusers(),
		"../../etc/tmpfiles.d/posthouse.conf": layout.Tmpfiles(read(t, "")),
	} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s (%v) is not what the table says; posthouse folders --sysusers and --tmpfiles print it:\n%s", file, err, want)
		}
	}
}

// A spool that its daemons make has no folder that the table does not know.
func TestTheSpoolIsInTheTable(t *testing.T) {
	root := filepath.Join(t.TempDir(), "spool")
	if err := spool.MakeDirs(durable.OS{}, root); err != nil {
		t.Fatal(err)
	}
	c := read(t, fmt.Sprintf("[spool]\npath = %q\n", root))
	var want, got []string
	made, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range made {
		want = append(want, filepath.Join(root, d.Name()))
	}
	for _, e := range layout.Of(c) {
		if filepath.Dir(e.Path) == root {
			got = append(got, e.Path)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q in the table, and the daemons make %q", got, want)
	}
}

func TestSecretsOfAConfiguration(t *testing.T) {
	c := read(t, `[tls]
certificate = "/etc/posthouse/tls/cert.pem"
key = "/etc/posthouse/tls/key.pem"
[outbound]
smart_host = "smtps:smart.example"
smart_host_login = "/etc/posthouse/smart.login"
[shared]
redis_url_file = "/etc/posthouse/redis.url"
[domains."example.org"]
dkim = ["mail2026"]
`)
	got := map[string]string{}
	for _, e := range layout.Of(c) {
		if e.File {
			got[e.Path] = e.Owner + ":" + e.Group + " " + layout.Octal(e.Mode)
		}
	}
	want := map[string]string{
		"/etc/posthouse/users":                             "root:posthouse-users 0640",
		"/etc/posthouse/tls/key.pem":                       "root:posthouse-tls 0640",
		"/etc/posthouse/smart.login":                       "root:posthouse-queue 0640",
		"/etc/posthouse/redis.url":                         "root:posthouse-users 0640",
		"/var/lib/posthouse/keys/example.org.mail2026.pem": "root:posthouse-keys 0640",
		"/var/lib/posthouse/keys/srs":                      "root:posthouse-keys 0640",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, driver := range []string{"postgres", "ldap"} { // the daemons read the database's password, and no users file
		c.Users.Driver = driver
		c.Users.Postgres.URLFile, c.Users.LDAP.URLFile = "/etc/posthouse/postgres", "/etc/posthouse/ldap"
		var got []string
		for _, e := range layout.Of(c) {
			if e.Group == layout.GroupUsers {
				got = append(got, e.Path+" "+e.Owner+" "+layout.Octal(e.Mode))
			}
		}
		if want := "[/etc/posthouse/" + driver + " root 0640 /etc/posthouse/redis.url root 0640]"; fmt.Sprint(got) != want {
			t.Errorf("%s: got %q, want %s", driver, got, want)
		}
	}
}

func TestMailRoot(t *testing.T) {
	for path, want := range map[string]string{
		"/var/mail/posthouse/{domain}/{local}": "/var/mail/posthouse",
		"/srv/{domain}/{local}/Maildir":        "/srv",
		"/srv/mail/m-{domain}/{local}":         "/srv/mail",
	} {
		if got := layout.MailRoot(read(t, fmt.Sprintf("[mailboxes]\npath = %q\n", path))); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestPathsInTmpfiles(t *testing.T) {
	got := layout.Tmpfiles(read(t, "state = \"/srv/100% \\\"mail\\\"\"\n"))
	if want := `d "/srv/100%% \"mail\"/smtpd" 0700 `; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant %q in it", got, want)
	}
}

// me makes an entry that belongs to whoever runs the test.
func me(t *testing.T, e layout.Entry) layout.Entry {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Skipf("the group of this user has no name: %v", err)
	}
	e.Owner, e.Group = u.Username, g.Name
	return e
}

func TestFoldersAreMadeAndMended(t *testing.T) {
	dir := t.TempDir()
	e := me(t, layout.Entry{Path: filepath.Join(dir, "a", "b"), Mode: fs.ModeSetgid | fs.ModeSticky | 0o770})
	if err := e.Check(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before: got %v, want that it is missing", err)
	}
	if made, err := e.Make(); !made || err != nil {
		t.Fatalf("got %v, %v", made, err)
	}
	if err := e.Check(); err != nil {
		t.Errorf("after it was made: %v", err)
	}
	if err := os.Chmod(e.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	err := e.Check()
	if want := "3770"; !errors.Is(err, layout.ErrDiffers) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want that it differs and should be %s", err, want)
	}
	if made, err := e.Make(); made || err != nil {
		t.Errorf("made again: got %v, %v, want it left alone", made, err)
	}
	if err := errors.Join(e.Mend(), e.Check()); err != nil {
		t.Error(err)
	}
}

// A restore on a host with other numbers leaves files that their daemon cannot read.
func TestWhatIsInsideBelongsToTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files away: root alone can")
	}
	dir := t.TempDir()
	e := me(t, layout.Entry{Path: dir, Mode: 0o700, Alone: true})
	mine, theirs, twice := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs"), filepath.Join(dir, "theirs", "file")
	if err := errors.Join(os.WriteFile(mine, nil, 0o600), os.Mkdir(theirs, 0o700), os.WriteFile(twice, nil, 0o600), os.Symlink(mine, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	e.Owner, e.Group = "nobody", "nogroup"
	if n, _, err := e.Inside(false); n != 0 || err != nil {
		t.Errorf("of root: got %d, %v, want none told", n, err)
	}
	for _, path := range []string{theirs, twice} {
		if err := os.Lchown(path, 4711, 4711); err != nil {
			t.Fatal(err)
		}
	}
	if n, first, err := e.Inside(false); n != 2 || first != theirs || err != nil {
		t.Errorf("got %d, %s, %v; want 2, %s", n, first, err, theirs)
	}
	if n, _, err := e.Inside(true); n != 2 || err != nil {
		t.Errorf("mended: got %d, %v", n, err)
	}
	if n, _, err := e.Inside(false); n != 0 || err != nil {
		t.Errorf("after that: got %d, %v", n, err)
	}
	if err := errors.Join(os.Link(mine, filepath.Join(dir, "second")), os.Lchown(mine, 4711, 4711)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Inside(true); err == nil || !strings.Contains(err.Error(), "second name") {
		t.Errorf("a file with a second name: got %v", err)
	}
}

// The daemons' run scripts start at once after a boot, and each makes what is missing: no one fails, nor sees a folder that is not
// finished.
func TestFoldersAreMadeByManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		e := me(t, layout.Entry{Path: filepath.Join(dir, strconv.Itoa(i), "folder"), Mode: fs.ModeSetgid | 0o750})
		var all sync.WaitGroup
		var made atomic.Int32
		for range 8 {
			all.Go(func() {
				first, err := e.Make()
				if err = errors.Join(err, e.Check()); err != nil {
					t.Error(err)
				}
				if first {
					made.Add(1)
				}
			})
		}
		all.Wait()
		entries, err := os.ReadDir(filepath.Dir(e.Path))
		if made.Load() != 1 || len(entries) != 1 || err != nil {
			t.Fatalf("it was made %d times; there are %v, %v", made.Load(), entries, err)
		}
	}
}

func TestWhatIsInTheWayIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e := me(t, layout.Entry{Path: file, Mode: 0o700})
	if err := e.Check(); !errors.Is(err, layout.ErrDiffers) {
		t.Errorf("a file for a folder: got %v", err)
	}
	if err := e.Mend(); err == nil {
		t.Error("a file was mended as if it were a folder")
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o644 {
		t.Errorf("got %v, %v", st, err)
	}
}

// TestSystemdMakesTheTable has systemd's own programs make users and folders in a root of their own.
func TestSystemdMakesTheTable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	for _, program := range []string{"systemd-sysusers", "systemd-tmpfiles"} {
		mtatest.Need(t, program)
	}
	root := t.TempDir()
	for dir, text := range map[string]string{"sysusers.d": layout.Sysusers(), "tmpfiles.d": layout.Tmpfiles(read(t, ""))} {
		dir = filepath.Join(root, "usr/lib", dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "posthouse.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"systemd-sysusers", "--root=" + root}, {"systemd-tmpfiles", "--create", "--root=" + root}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	users, groups := ids(t, root, "passwd"), ids(t, root, "group")
	for _, e := range layout.Of(read(t, "")) {
		if e.File {
			continue
		}
		st, err := os.Stat(filepath.Join(root, e.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		sys := st.Sys().(*syscall.Stat_t)
		got := fmt.Sprintf("%s:%s %s", users[fmt.Sprint(sys.Uid)], groups[fmt.Sprint(sys.Gid)], layout.Octal(st.Mode()))
		if want := fmt.Sprintf("%s:%s %s", e.Owner, e.Group, layout.Octal(e.Mode)); got != want {
			t.Errorf("%s: got %s, want %s", e.Path, got, want)
		}
	}
}

// ids maps the numbers of a root's passwd(5) or group(5) to names.
func ids(t *testing.T, root, file string) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "etc", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{"0": "root"}
	for s := bufio.NewScanner(f); s.Scan(); {
		if part := strings.Split(s.Text(), ":"); len(part) > 2 {
			m[part[2]] = part[0]
		}
	}
	return m
}
