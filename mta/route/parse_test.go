package route

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

// included stands for the files that an aliases file includes.
func included(path string) ([]mta.Address, error) {
	text, ok := map[string]string{"/list": "# members\na, b@d.test\n\n  c\n", "/bad": "a\n\n:include:/list\n", "/program": "|lists\n"}[path]
	if !ok {
		return nil, errors.New("/gone is gone")
	}
	return parseInclude(path, []byte(text))
}

func TestFaultsOfAnAliasesFileNameTheirLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"  a: b\n", "f:1: begins with a blank"},
		{"a: b\n\n# x\nnocolon\n", "f:4: want"},
		{"a:\n", "f:1: a has no target"},
		{"a: b\nA: c\n", "f:2: a is already defined on line 1"},
		{"a: |/bin/sh\n", "f:1: \"|/bin/sh\" is no program here"},
		{"a: \"|/bin/sh -c x\"\n", "f:1: \"|/bin/sh -c x\" is no program here"},
		{"a: b, |\n", "f:1: \"|\" is no program here"},
		{"a: \"|lists\n", "f:1: quotation mark"},
		{"a: \"|lists\" b\n", "f:1: want a comma"},
		{"a: :include:/program\n", "f:1: /program:1: a program stands in an aliases file itself"},
		{"a: /var/mail/x\n", "f:1: delivery to files"},
		{"a: /dev/null/x\n", "f:1: delivery to files"},
		{"a: \"/dev/null\n", "f:1: quotation mark"},
		{"a: \\\n", "f:1: target:"},
		{"a: \\b c\n", "f:1: target:"},
		{"a: \\\\b\n", "f:1: target:"},
		{"a: B <b\n", "f:1: target:"},
		{"a: B <>\n", "f:1: target:"},
		{"a <b>: c\n", "f:1: name:"},
		{"a: b\n\ufeffc: d\n", "f:2: name:"},
		{"a: b, :include:/gone\n", "f:1: /gone is gone"},
		{"a: \":INCLUDE:/bad\"\n", "f:1: /bad:3: :include: is not possible"},
		{"a: \":include:/list\" b\n", "f:1: want a comma"},
		{"a: b c\n", "f:1: target:"},
		{"a: b,\n\n\tc d\n", "f:1: target:"},
		{"a: \"b\n", "f:1: target: quotation mark"},
		{"a: b\x00c\n", "f:1: control character"},
		{"a: b\xff\n", "f:1: control character"},
		{"a: " + strings.Repeat("x", 255) + "\n", "f:1: target:"},
		{"a@b@c: d\n", "f:1: name:"},
		{": d\n", "f:1: name:"},
		{"no colon on the line\n", `f:1: want "name: target`},
		{"\"a: b\n", "f:1: name: quotation mark"},
	} {
		_, err := parseAliases("f", []byte(c.text), included)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
	_, err := parseAliases("f", []byte(strings.Repeat("bad\n", 1000)), included)
	if err == nil || !strings.Contains(err.Error(), "950 more faults") || strings.Count(err.Error(), "\n") > maxAliasFaults {
		t.Errorf("1000 faults: got %.200s", err)
	}
}

// TestWhatOtherProgramsFilesHave: a mark that editors set, /dev/null, \name, names and comments beside addresses.
func TestWhatOtherProgramsFilesHave(t *testing.T) {
	const file = "\ufeffa: b\n" + `
none: /dev/null
quoted: "/dev/null" , b
bob: \bob, \c@d.test
named: "B, b" <b@d.test>, C c <c> , d@d.test (D d)
list: :include:/named
`
	table, err := parseAliases("f", []byte(file), func(path string) ([]mta.Address, error) {
		return parseInclude(path, []byte("\ufeffB b <b@d.test>\nc@d.test (C c)\n/dev/null\n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]mta.Address{
		"a": {{Local: "b"}}, "none": {nowhere}, "quoted": {nowhere, {Local: "b"}},
		"bob":   {{Local: boxMark + "bob"}, {Local: boxMark + "c", Domain: "d.test"}},
		"named": {{Local: "b", Domain: "d.test"}, {Local: "c"}, {Local: "d", Domain: "d.test"}},
		"list":  {{Local: "b", Domain: "d.test"}, {Local: "c", Domain: "d.test"}, nowhere},
	} {
		if got := table[mta.Address{Local: name}]; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestGoodAliasesFile(t *testing.T) {
	table, err := parseAliases("f", []byte("# c\r\na : b , c@d.test,\r\n# between\r\n\t\"x, y\"@d.test\n\n\"q:r\": b\nÄ: ü@bücher.test\nlist: z, :include:/list, \":INCLUDE: /list\" , y\nlast: b"), included)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name mta.Address
		want string
	}{
		{mta.Address{Local: "A", Domain: "e.test"}, `b@e.test c@d.test "x, y"@d.test`},
		{mta.Address{Local: "q:r", Domain: "e.test"}, "b@e.test"},
		{mta.Address{Local: "Ä", Domain: "e.test"}, "ü@xn--bcher-kva.test"},
		{mta.Address{Local: "list", Domain: "e.test"}, "z@e.test a@e.test b@d.test c@e.test a@e.test b@d.test c@e.test y@e.test"},
		{mta.Address{Local: "last", Domain: "e.test"}, "b@e.test"},
		{mta.Address{Local: "none", Domain: "e.test"}, ""},
	} {
		var got []string
		for _, a := range table.lookup(c.name) {
			got = append(got, a.String())
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: got %s, want %s", c.name, g, c.want)
		}
	}
}

// FuzzAliases checks that whatever a file says, every target is an address that a transaction can carry, and that
// every fault has a line.
func FuzzAliases(f *testing.F) {
	for _, s := range []string{"a: \\b, /dev/null, c <d@e>, f (g)\n", "a: b\n", "a: b,\n c@d.test\n", "\"a b\": \"|x\"\n", ":\n", "a:\"\\", "a: b\na: c\n", "a: :include:/list, \":include:/gone\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := parseAliases("f", b, included)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "f:") {
					t.Errorf("fault without a place: %q", line)
				}
			}
			return
		}
		for name := range table {
			targets := table.lookup(mta.Address{Local: name.Local, Domain: "e.test"})
			if name.Domain != "" {
				targets = table.lookup(name)
			}
			if len(targets) == 0 {
				t.Errorf("%s has no target", name)
			}
			for _, a := range targets {
				if name, ok := programOf(a); ok {
					if name == "" || strings.ContainsAny(name, "/ |") {
						t.Errorf("got the program %q", name)
					}
					continue
				}
				if a == nowhere {
					continue
				}
				a.Local = strings.TrimPrefix(a.Local, boxMark)
				if v, err := mta.ParseAddress(a.String()); a.Local != "" && (err != nil || v != a) {
					// a local part that is good alone may be too long with the domain put behind it
					if len(a.String()) <= mta.MaxPathLen {
						t.Errorf("target %q of %q: %v", a, name, err)
					}
				}
			}
		}
	})
}
