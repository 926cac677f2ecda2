package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestFiltersAreEnabledAndDisabledWithTheRestAsItIs(t *testing.T) {
	const list = "[filters]\nenabled = [\n  \"spf\",  # who may\n  \"dkim\" # signs\n]\ntimeout = \"5s\"\n"
	for _, c := range []struct {
		name, text, verb, filter, before, want string // want "": err
		err                                    error
	}{
		{"one more", "[filters]\nenabled = [\"spf\"] # a\n", "+", "dkim", "", "[filters]\nenabled = [\"spf\", \"dkim\"] # a\n", nil},
		{"in front", "[filters]\nenabled = ['spf']\n", "+", "dkim", "spf", "[filters]\nenabled = [\"dkim\", 'spf']\n", nil},
		{"the first", "[filters]\n  enabled=[ ]\r\n", "+", "dkim", "", "[filters]\n  enabled=[\"dkim\" ]\r\n", nil},
		{"dotted", "filters.enabled = []\n[queue]\n", "+", "dkim", "", "filters.enabled = [\"dkim\"]\n[queue]\n", nil},
		{"not set", "[queue]\nmax_hops = 50", "+", "spf", "", "[queue]\nmax_hops = 50\n\n[filters]\nenabled = [\"spf\"]\n", nil},
		{"not set in the table", "[filters] # these\ntimeout = \"5s\"\n", "+", "spf", "", "[filters] # these\nenabled = [\"spf\"]\ntimeout = \"5s\"\n", nil},
		{"not set beside a dotted key", "filters.timeout = \"5s\"\n[queue]\n", "+", "spf", "", "filters.timeout = \"5s\"\nfilters.enabled = [\"spf\"]\n[queue]\n", nil},
		{"a table in a line", "filters = { timeout = \"5s\" }\n", "+", "spf", "", "", nil},
		{"a list of lines", list, "+", "arc", "", strings.Replace(list, "\"dkim\"", "\"dkim\", \"arc\"", 1), nil},
		{"there already", "[filters]\nenabled = [\"spf\"]\n", "+", "spf", "", "", ErrEnabled},
		{"in front of none", "[filters]\nenabled = [\"spf\"]\n", "+", "dkim", "arc", "", ErrNotEnabled},
		{"no name", "[filters]\nenabled = [\"spf\"]\n", "+", "../x", "", "[filters]\nenabled = [\"spf\", \"../x\"]\n", nil}, // the caller's to refuse
		{"off, the only", "[filters]\nenabled = [\"spf\"]\n", "-", "spf", "", "[filters]\nenabled = []\n", nil},
		{"off, the first", "[filters]\nenabled = [\"spf\", \"dkim\"]\n", "-", "spf", "", "[filters]\nenabled = [\"dkim\"]\n", nil},
		{"off, the last", "[filters]\nenabled = [\"spf\", \"dkim\"]\n", "-", "dkim", "", "[filters]\nenabled = [\"spf\"]\n", nil},
		{"off, of lines, the first", list, "-", "spf", "", strings.Replace(list, "  \"spf\",  ", "  ", 1), nil},
		{"off, of lines, the last", list, "-", "dkim", "", strings.Replace(list, "  \"dkim\" #", "   #", 1), nil},
		{"off, a line of its own", "[filters]\nenabled = [\n\"spf\",\n\"dkim\",\n]\n", "-", "dkim", "", "[filters]\nenabled = [\n\"spf\",\n]\n", nil},
		{"off, and not on", "[filters]\nenabled = [\"spf\"]\n", "-", "dkim", "", "", ErrNotEnabled},
		{"off, and not set", "", "-", "dkim", "", "", ErrNotEnabled},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "posthouse.toml", host+c.text)
			var file string
			var text []byte
			var err error
			if c.verb == "+" {
				file, text, err = EnableFilter(path, c.filter, c.before)
			} else {
				file, text, err = DisableFilter(path, c.filter)
			}
			switch {
			case c.want == "" && (err == nil || c.err != nil && !errors.Is(err, c.err)):
				t.Errorf("got %q and %v, want error %v", text, err, c.err)
			case c.want != "" && (err != nil || file != path || string(text) != host+c.want):
				t.Errorf("got %q, %v, want %q", text, err, host+c.want)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != host+c.text {
				t.Errorf("the file was touched: %q, %v", b, err)
			}
		})
	}
}

func TestEnabledInAnIncludedFile(t *testing.T) {
	path := write(t, "posthouse.toml", host+"include = [\"a.toml\"]\n", "a.toml", "filters.enabled = [\"spf\"]\n")
	file, text, err := EnableFilter(path, "dkim", "")
	if err != nil || !strings.HasSuffix(file, "/a.toml") || string(text) != "filters.enabled = [\"spf\", \"dkim\"]\n" {
		t.Errorf("got %s, %q, %v", file, text, err)
	}
	path = write(t, "posthouse.toml", host+"include = [\"a.toml\"]\nfilters.enabled = []\n", "a.toml", "filters.enabled = [\"spf\"]\n")
	if _, _, err = DisableFilter(path, "spf"); err == nil || !strings.Contains(err.Error(), "a.toml:1, ") || !strings.Contains(err.Error(), "posthouse.toml:") {
		t.Errorf("got %v, want both files named", err)
	}
}
