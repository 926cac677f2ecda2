package layout

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// Sysusers is the file of sysusers.d(5) that makes the users and groups.
func Sysusers() string {
	var b strings.Builder
	b.WriteString("# The users and groups of Posthouse, rendered from its table of them; sysusers.d(5).\n")
	for _, g := range Groups() {
		fmt.Fprintf(&b, "g %s -\n", g)
	}
	for _, u := range Users() {
		fmt.Fprintf(&b, "u %s - %q / /usr/sbin/nologin\n", u.Name, u.Comment)
	}
	for _, u := range Users() {
		for _, g := range u.Groups {
			fmt.Fprintf(&b, "m %s %s\n", u.Name, g)
		}
	}
	return b.String()
}

// Tmpfiles is the file of tmpfiles.d(5) that makes the folders. Files are not in it: who has none yet gets none.
func Tmpfiles(c *config.Config) string {
	var b strings.Builder
	b.WriteString("# The folders of Posthouse, rendered from its table of them; tmpfiles.d(5). Nothing here is ever cleaned by age.\n")
	for _, e := range Of(c) {
		if !e.File {
			fmt.Fprintf(&b, "d %s %s %s %s -\n", quoted(e.Path), Octal(e.Mode), e.Owner, e.Group)
		}
	}
	return b.String()
}

// quoted is a path in a field of tmpfiles.d(5), where % begins a specifier.
func quoted(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t\"'\\") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
	}
	return path
}

// Octal is a mode as chmod(1) takes it.
func Octal(m fs.FileMode) string {
	n := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		n |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		n |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		n |= 0o1000
	}
	return fmt.Sprintf("%04o", n)
}
