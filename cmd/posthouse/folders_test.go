package main

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/layout"
)

func TestFoldersAreMadeOnceAndToldWhereTheyDiffer(t *testing.T) {
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	all := []layout.Entry{
		{Path: filepath.Join(dir, "a"), Owner: u.Username, Group: g.Name, Mode: 0o700},
		{Path: filepath.Join(dir, "a", "b"), Owner: u.Username, Group: g.Name, Mode: 0o755},
		{Path: filepath.Join(dir, "secret"), Owner: u.Username, Group: g.Name, Mode: 0o640, File: true},
	}
	run := func(fix bool, want ...string) {
		t.Helper()
		var out strings.Builder
		err := makeFolders(&out, all, fix)
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("got %q, want %q in it", &out, w)
			}
		}
		if len(want) == 0 && out.Len() > 0 {
			t.Errorf("got %q, want nothing", &out)
		}
		differs := strings.Contains(strings.Join(want, " "), "left:")
		var coded *codedError
		if errors.As(err, &coded) != differs || err != nil && !differs {
			t.Errorf("got error %v, want one: %v", err, differs)
		}
	}
	run(false, "made "+all[0].Path, "made "+all[1].Path)
	run(false)
	if err := os.WriteFile(all[2].Path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(all[1].Path, 0o777); err != nil {
		t.Fatal(err)
	}
	run(false, "left: "+all[1].Path, "should be "+u.Username+":"+g.Name+" 0755", "left: "+all[2].Path)
	run(true, "mended: "+all[1].Path, "mended: "+all[2].Path)
	run(false)
}

func TestFoldersForSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "posthouse.toml")
	if err := os.WriteFile(path, []byte("hostname = \"mail.example.org\"\n[spool]\npath = \"/srv/spool\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{
		"--tmpfiles": "d /srv/spool/incoming 3770 posthouse-queue posthouse-spool -\n",
		"--sysusers": "m posthouse-queue posthouse-mail\n",
	} {
		var out, errOut strings.Builder
		if code := execute(t.Context(), []string{"folders", "-c", path, option}, nil, &out, &errOut); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: got %d\n%s%s\nwant %q in it", option, code, &out, &errOut, want)
		}
	}
}
