package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// home is a folder that is the home of whoever runs the test.
func home(t testing.TB) person {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return person{dir, "bob", uint32(os.Getuid()), uint32(os.Getgid()), nil, durable.OS{}, func() error { return nil }}
}

func (p person) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.home, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func show(targets []asuser.Target) string {
	var list []string
	for _, t := range targets {
		list = append(list, strings.TrimSpace(t.Kind+" "+t.Value))
	}
	return strings.Join(list, "; ")
}

func TestForwards(t *testing.T) {
	p := home(t)
	for text, want := range map[string]string{
		"":                                       "",
		"# nobody\n\n  # and nothing\n":          "",
		"carol@x.test\n":                         "address carol@x.test",
		"carol":                                  "address carol@host.test",
		"Carol <carol@x.test>":                   "address carol@x.test",
		"a@x.test, b@x.test,\n,c@x.test , \\bob": "address a@x.test; address b@x.test; address c@x.test; mailbox",
		`\BOB@host.test`:                         "mailbox",
		`\carol`:                                 "address carol@host.test",
		"a@x.test\r\na@x.test\r\n":               "address a@x.test",
		`"|/usr/bin/vacation bob, carol"`:        "program /usr/bin/vacation bob, carol",
		`|/usr/bin/vacation bob, \bob`:           "program /usr/bin/vacation bob; mailbox",
		`| /bin/sh -c "read x, y; cat"`:          `program /bin/sh -c "read x, y; cat"`,
		`"|/bin/sh -c 'cat >\"a b\"'"`:           `program /bin/sh -c 'cat >"a b"'`,
		"~/Maildir/":                             "maildir " + p.home + "/Maildir",
		"./Maildir/.lists/, /var/m/bob/":         "maildir " + p.home + "/Maildir/.lists; maildir /var/m/bob",
		"/dev/null":                              "discard",
		`"a, b"@x.test, "\"q"@x.test`:            `address "a, b"@x.test; address "\"q"@x.test`,
		":include:~/list":                        "address x@x.test; address y@x.test",
	} {
		p.write(t, ".forward", text)
		p.write(t, "list", "x@x.test\n# y\ny@x.test\n")
		got, _, err := p.targets("", "host.test")
		if err != nil || show(got) != want {
			t.Errorf("%q: got %q, %v; want %q", text, show(got), err, want)
		}
	}
}

// What is wrong is told with its line, and nothing of the file is believed.
func TestForwardsWithFaults(t *testing.T) {
	p := home(t)
	for text, want := range map[string]string{
		"a@x.test\n/var/mail/bob":            ".forward:2: /var/mail/bob would be a file of many messages",
		"~/mbox":                             "for a Maildir write ~/mbox/",
		"|":                                  "there is no program",
		"|cat > /tmp/x":                      "put it in quotation marks, or write |/bin/sh -c",
		"|/bin/echo $HOME":                   `"$" is for a shell`,
		`|/bin/echo "$HOME"`:                 `"$" is for a shell`,
		"|IFS=' ' && exec /usr/bin/procmail": `"&" is for a shell`,
		"|/bin/echo `id`":                    "is for a shell",
		`|/bin/echo 'x`:                      "quotation mark",
		`"|/bin/echo`:                        "quotation mark",
		"a@@x.test":                          ".forward:1:",
		"a b":                                ".forward:1:",
		":include:list":                      "want a path",
		":include:~/.forward":                "5 deep",
		":include:/dev/zero":                 "not a regular file",
		":include:/nowhere/at/all":           "no such file",
		"\x00":                               "control characters",
		"\xff":                               "not UTF-8",
		strings.Repeat("a@x.test\n", 8000):   "larger than",
		many(1001):                           "more than 1000 targets",
	} {
		p.write(t, ".forward", text)
		if got, _, err := p.targets("", "host.test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %q, %v; want %q", text, show(got), err, want)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d@x.test\n", i)
	}
	return b.String()
}

func TestForwardThatOthersCouldHaveWritten(t *testing.T) {
	p := home(t)
	path := filepath.Join(p.home, ".forward")
	for name, c := range map[string]struct {
		make func() error
		want string
	}{
		"writable by all":        {func() error { return os.Chmod(path, 0o666) }, "others may write it (mode 0666)"},
		"of another user":        {func() error { return os.Chown(path, 12345, 12345) }, "belongs to uid 12345"},
		"of another's group":     {func() error { return errorsOf(os.Chown(path, -1, 12345), os.Chmod(path, 0o664)) }, "others may write it (mode 0664)"},
		"a FIFO":                 {func() error { return errorsOf(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, "not a regular file"},
		"a folder":               {func() error { return errorsOf(os.Remove(path), os.Mkdir(path, 0o700)) }, "not a regular file"},
		"a link to nothing":      {func() error { return errorsOf(os.Remove(path), os.Symlink("/nowhere/at/all", path)) }, "no such file"},
		"a link to itself":       {func() error { return errorsOf(os.Remove(path), os.Symlink(path, path)) }, "symbolic links"},
		"a link to the accounts": {func() error { return errorsOf(os.Remove(path), os.Symlink("/etc/passwd", path)) }, "/.forward:1: "},
	} {
		if os.Getuid() != 0 && strings.HasPrefix(name, "of another") {
			continue
		}
		_ = os.RemoveAll(path)
		p.write(t, ".forward", "a@x.test\n")
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		if got, _, err := p.targets("", "host.test"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v; want %q", name, show(got), err, c.want)
		}
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestTheExtensionHasAFileOfItsOwn(t *testing.T) {
	p := home(t)
	p.write(t, ".forward", "all@x.test")
	p.write(t, ".forward+lists", "lists@x.test")
	for extension, want := range map[string]string{
		"": "all@x.test", "lists": "lists@x.test", "LISTS": "lists@x.test", "other": "all@x.test", "../lists": "all@x.test", "lists/x": "all@x.test", "lists\n": "all@x.test",
	} {
		if got, _, err := p.targets(extension, "host.test"); err != nil || show(got) != "address "+want {
			t.Errorf("%q: got %q, %v; want %q", extension, show(got), err, want)
		}
	}
}

func TestWordsOfCommands(t *testing.T) {
	for s, want := range map[string][]string{
		"/usr/bin/vacation  bob":  {"/usr/bin/vacation", "bob"},
		`a 'b c' "d \" e" f\ g`:   {"a", "b c", `d " e`, "f g"},
		`a '' ""`:                 {"a", "", ""},
		`sh -c 'a; b | c $x "y"'`: {"sh", "-c", `a; b | c $x "y"`},
		`a \$x \\`:                {"a", "$x", `\`},
	} {
		if got, err := words(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", s, got, err, want)
		}
	}
}

// No file, however strange, makes targets that queue-runner would not take.
func FuzzForward(f *testing.F) {
	for _, s := range []string{
		"a@x.test, \\bob\n|/usr/bin/vacation bob\n", `"|/bin/sh -c 'cat >\"a b\"'", "a b"@x.test`, "~/Maildir/.x/, /dev/null", ":include:/nowhere", "\"\\", "|\"a\\", "<@>", "#\n,,,\t",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), ":include:") {
			return // other files are the machine's
		}
		x := &forward{home: "/home/bob", user: "bob", domain: "x.test", seen: map[asuser.Target]bool{}}
		for _, line := range strings.Split(text, "\n") {
			if strings.ContainsFunc(line, isControl) || x.line(strings.TrimSpace(line), 0) != nil {
				return
			}
		}
		for _, g := range x.targets {
			if g.Kind == asuser.ToMaildir && !filepath.IsAbs(g.Value) || g.Kind == asuser.ToProgram && g.Value == "" || g.Kind == "" {
				t.Errorf("%q: got the target %+v", text, g)
			}
		}
		if len(x.targets) > asuser.MaxTargets {
			t.Errorf("got %d targets", len(x.targets))
		}
	})
}

func TestAHomeThatAGroupMayWriteTo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("gives the home to another group")
	}
	p := home(t)
	if err := errorsOf(os.Chown(p.home, -1, 12345), os.Chmod(p.home, 0o770)); err != nil {
		t.Fatal(err)
	}
	if err := p.checkHome(); err == nil || !strings.Contains(err.Error(), "writable by group 12345") {
		t.Errorf("got %v, want it refused", err)
	}
	p.gid = 12345 // a group of the user's own
	if err := p.checkHome(); err != nil {
		t.Errorf("got %v", err)
	}
}
