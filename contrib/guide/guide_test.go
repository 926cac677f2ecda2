package guide

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// pages are the guide and the README, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 8 {
		t.Fatalf("got %v, %v, want the pages of the guide", files, err)
	}
	all := map[string]string{}
	for _, f := range append(files, "../../README.md") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[f] = string(b)
	}
	return all
}

var (
	fenced = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")
	span   = regexp.MustCompile("`([^`\n]+)`")
	called = regexp.MustCompile(`(?:^|[\s|;&(])posthouse( [a-z].*|$)`)
	flag   = regexp.MustCompile(`^--?[a-z][a-z-]*`)
	unit   = regexp.MustCompile(`\bposthouse-(?:smtpd|pop3d|queue-runner|cert|cert-obtain)(?:\.[a-z]+)?\b`)
	key    = regexp.MustCompile("`(smtpd|outbound|pop3d|mailboxes|users|acme|queue|spool|filters|srs|tls)\\.([a-z0-9_]+)`")
	link   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// shown are the lines of code of a page, and what stands in its text as code.
func shown(page string) []string {
	var all []string
	for line := range strings.Lines(fenced.ReplaceAllString(page, "")) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			all = append(all, strings.TrimSpace(code))
			continue
		}
		for _, m := range span.FindAllStringSubmatch(line, -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// calls are the words behind each call of posthouse in a line of code.
func calls(code string) [][]string {
	code, _, _ = strings.Cut(code, " #")
	var all [][]string
	for _, part := range regexp.MustCompile(`&&|\||;`).Split(code, -1) {
		if m := called.FindStringSubmatch(part); m != nil && !strings.HasPrefix(part, "make ") {
			all = append(all, strings.Fields(m[1]))
		}
	}
	return all
}

// TestCommandsAreThere runs no command: what it asks is the help of each.
func TestCommandsAreThere(t *testing.T) {
	program := filepath.Join(mtatest.Build(t, "../../cmd/posthouse"), "posthouse")
	helps := map[string]string{}
	help := func(words ...string) string {
		k := strings.Join(words, " ")
		if _, ok := helps[k]; !ok {
			out, err := exec.CommandContext(t.Context(), program, slices.Concat(words, []string{"--help"})...).Output()
			if err != nil {
				t.Errorf("posthouse %s --help: %v", k, err)
			}
			helps[k] = string(out)
		}
		return helps[k]
	}
	n := 0
	for name, page := range pages(t) {
		for _, code := range shown(page) {
			for _, words := range calls(code) {
				n++
				depth := 0
				for depth < len(words) && strings.Contains(help(words[:depth]...), "\n  "+words[depth]+" ") {
					depth++
				}
				said := help(words[:depth]...)
				if depth == 0 && len(words) > 0 && !strings.HasPrefix(words[0], "-") || strings.Contains(said, "Available Commands:") && depth < len(words) {
					t.Errorf("%s: %q: there is no such command", name, code)
					continue
				}
				for _, w := range words[depth:] {
					if f := flag.FindString(w); f != "" && !strings.Contains(said, f+" ") && !strings.Contains(said, f+",") && !strings.Contains(said, f+"[") {
						t.Errorf("%s: %q: posthouse %s has no %s", name, code, strings.Join(words[:depth], " "), f)
					}
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("got %d commands, want those of the guide", n)
	}
}

func TestConfigurationsAreTaken(t *testing.T) {
	n := 0
	for name, page := range pages(t) {
		for _, m := range fenced.FindAllStringSubmatch(page, -1) {
			n++
			text := "hostname = \"mail.example.org\"\n" + m[1]
			if !strings.Contains(text, "[domains.\"example.org\"]") {
				text += "[domains.\"example.org\"]\n"
			}
			if strings.Contains(text, "[acme]") {
				text += "[tls]\ncertificate = \"/etc/posthouse/tls/fullchain.pem\"\nkey = \"/etc/posthouse/tls/key.pem\"\n"
			}
			file := filepath.Join(t.TempDir(), "posthouse.toml")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Read(file); err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[1])
			}
		}
	}
	if n < 10 {
		t.Errorf("got %d configurations, want those of the guide", n)
	}
}

func TestKeysAndUnitsAndLinksAreThere(t *testing.T) {
	b, err := os.ReadFile("../../mta/config/posthouse.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{}
	at := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if table, ok := strings.CutPrefix(line, ".Ss ["); ok {
			at = strings.Trim(table, "[]")
		} else if k, ok := strings.CutPrefix(line, ".It Ic "); ok {
			keys[at] = append(keys[at], k)
		}
	}
	for name, page := range pages(t) {
		for _, m := range key.FindAllStringSubmatch(page, -1) {
			if !slices.Contains(keys[m[1]], m[2]) && keys[m[1]+"."+m[2]] == nil {
				t.Errorf("%s: there is no key %s.%s", name, m[1], m[2])
			}
		}
		for _, code := range shown(page) {
			if !strings.HasPrefix(code, "systemctl ") && !strings.HasPrefix(code, "journalctl ") {
				continue
			}
			for _, u := range unit.FindAllString(code, -1) {
				if !strings.Contains(u, ".") {
					u += ".service"
				}
				if _, err := os.Stat(filepath.Join("../../etc/systemd/system", u)); err != nil {
					t.Errorf("%s: %q: %v", name, code, err)
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: a link to nowhere: %v", name, err)
			}
		}
	}
}
