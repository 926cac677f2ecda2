package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
)

var sampleKey = regexp.MustCompile(`(?m)^# (?:e\.g\. )?([a-z_]+) = (.*?)(?:\s+# .*)?$`)

// TestEachFilterHasItsSampleAndItsSection holds the settings' samples to what the filters know, and the manual to the samples.
func TestEachFilterHasItsSampleAndItsSection(t *testing.T) {
	page, err := os.ReadFile("posthouse-filters.7")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range bundled("test") {
		if d := f.Describe(); d.Name != name || d.Version != "test" || d.Summary == "" {
			t.Errorf("%s: it describes itself as %+v", name, d)
		}
		b, err := os.ReadFile(filepath.Join("..", "..", "etc", "posthouse", "filters.d", name+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		_, section, ok := strings.Cut(string(page), "\n.Ss "+name+"\n")
		if !ok {
			t.Errorf("posthouse-filters.7: no section for %s", name)
		}
		section, _, _ = strings.Cut(section, "\n.Ss ")
		section, _, _ = strings.Cut(section, "\n.Sh ")
		_, own, ok := strings.Cut(string(b), "[settings]\n")
		if !ok {
			t.Fatalf("%s.toml: no [settings]", name)
		}
		text := "[settings]\n"
		for _, m := range sampleKey.FindAllStringSubmatch(own, -1) {
			text += m[1] + " = " + m[2] + "\n"
			if !regexp.MustCompile(`\n\.It Ic (.* , )?` + m[1] + `( , .*)?\n`).MatchString(section) {
				t.Errorf("posthouse-filters.7: %s: nothing about %s", name, m[1])
			}
		}
		c, ok := f.(filters.Configurer)
		if !ok {
			t.Fatalf("%s: no settings", name)
		}
		if err := c.Configure(&filters.Site{Hostname: "mx.here.test", Resolvers: []string{"127.0.0.1:53"}, StateDirectory: t.TempDir(), SubmitSocket: "/run/submit.sock"}, filters.NewSettings(text)); err != nil {
			t.Errorf("%s.toml: with all keys set: %v", name, err)
		}
		if !regexp.MustCompile(`(?m)^FILTERS += .*\b` + name + `\b`).Match(makefile) {
			t.Errorf("Makefile: FILTERS lacks %s", name)
		}
	}
}
