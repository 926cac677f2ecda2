package mta_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	exitConst = regexp.MustCompile(`(?m)^\s*(?:const )?([eE]xit[A-Z]\w*)\s*=\s*([0-9]+)`)
	exitUse   = regexp.MustCompile(`\bdaemon\.(Exit[A-Z]\w*)`)
	exitItem  = regexp.MustCompile(`(?m)^\.It ([0-9]+)$`)
)

// TestEachExitStatusIsInTheManual holds the EXIT STATUS of each program's page against the constants of its code. Those of
// mta/daemon are a program's where it names them, all of them where it leaves its end to the package.
func TestEachExitStatusIsInTheManual(t *testing.T) {
	common := map[string]string{}
	for _, m := range exitConst.FindAllStringSubmatch(source(t, "daemon"), -1) {
		common[m[1]] = m[2]
	}
	if len(common) < 5 {
		t.Fatalf("mta/daemon has the exit statuses %v, want those of sysexits.h", common)
	}
	for _, name := range []string{"smtpd", "queue-runner", "pop3d", "as-user", "deliver-local", "sendmail", "posthouse"} {
		dir := filepath.Join("..", "cmd", name)
		code := source(t, dir)
		want := map[string]bool{"0": true}
		for _, m := range exitConst.FindAllStringSubmatch(code, -1) {
			want[m[2]] = true
		}
		for _, m := range exitUse.FindAllStringSubmatch(code, -1) {
			if number, ok := common[m[1]]; ok {
				want[number] = true
			}
		}
		if strings.Contains(code, "daemon.Main") {
			for _, number := range common {
				want[number] = true
			}
		}
		page, err := os.ReadFile(filepath.Join(dir, name+".8"))
		if err != nil {
			t.Fatal(err)
		}
		_, section, ok := strings.Cut(string(page), "\n.Sh EXIT STATUS\n")
		if !ok {
			t.Errorf("%s.8: no EXIT STATUS", name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n.Sh ")
		var said []string
		for _, m := range exitItem.FindAllStringSubmatch(section, -1) {
			if said = append(said, m[1]); !want[m[1]] {
				t.Errorf("%s.8: the program does not end with %s", name, m[1])
			}
		}
		for number := range want {
			if !slices.Contains(said, number) {
				t.Errorf("%s.8: nothing about the exit status %s", name, number)
			}
		}
	}
}

// source is the code of a package, without its tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no code: %v", dir, err)
	}
	var b strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
