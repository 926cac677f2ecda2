package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzConfig: whatever stands in a file, each problem has its place in that file, and what is taken once is taken
// again with the same meaning.
func FuzzConfig(f *testing.F) {
	contract, err := os.ReadFile("testdata/contract.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(contract))
	path := filepath.Join(f.TempDir(), "posthouse.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := Read(path)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("got %#v, want Errors", err)
			}
			for _, p := range all {
				if p.File == "" || p.Line < 1 || p.Msg == "" {
					t.Errorf("a problem without its place: %#v", p)
				}
			}
			return
		}
		if second, err := Read(path); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("read again: got %+v, %v; want %+v", second, err, first)
		}
		if first.Domains[first.Hostname] == nil {
			t.Errorf("the host's name %q is no local domain", first.Hostname)
		}
	})
}

// FuzzPlaces: scan finds a line for each key that the decoder finds.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{
		"a = 1\n[b]\nc = [1, # x\n {d = 2}]\n", "[[a.b]]\nc.'d e'.\"f\" = \"\"\"\n[x]\n\"\"\"\"\n[a.b.g]\nh = {i = '''\n''', j = []}\n",
		"\"a\\\"b\" = 'c\\'\nd = \"\\\\\"\ne = 1", "[a]\r\nb = 1979-05-27T07:32:00Z\r\n", "a = [[1], [], {b = {c = 1}}]\nd = -inf",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, deep := scan(text) // also on text that is no TOML it must end
		if deep {                // the decoder would take its time
			return
		}
		var tree map[string]any
		md, err := toml.Decode(text, &tree)
		if err != nil || slices.ContainsFunc([]byte(text), func(c byte) bool { return c == '\\' || c == '[' || c == '{' }) {
			return // escapes are spelled in more ways than scan knows, and a walk over arrays would be scan once more
		}
		for _, key := range md.Keys() {
			p := root
			for _, k := range key {
				if p = p.keys[k]; p == nil {
					t.Fatalf("%q: no place for %q", text, key)
				}
			}
		}
	})
}

func TestPlaces(t *testing.T) {
	n, problem := parse("f", `a.b = 1 # [x]
"q \" k" = 2
[t."u.v"]
s = """
x = 1
\""""
l = '''
[no]'''''
m = [ # ]
  1,
  { k = "}", j = [
    "]" ] },
]
[[w]]
x = 1
[[w.y]]
z = 1
[[w]]
[[w.y]]
z = 2
[w.y.deep]
e = 3
`)
	if problem != nil {
		t.Fatal(problem)
	}
	u := n.get("t", "u.v")
	w := n.get("w")
	for _, c := range []struct {
		name string
		node *node
		line int
	}{
		{"dotted", n.get("a", "b"), 1}, {"quoted", n.get(`q " k`), 2}, {"table", u, 3}, {"long string", u.get("s"), 4}, {"long literal", u.get("l"), 7},
		{"array", u.get("m"), 9}, {"item", u.get("m").item(0), 10}, {"inline", u.get("m").item(1).get("k"), 11}, {"nested", u.get("m").item(1).get("j").item(0), 12},
		{"first", w.item(0).get("x"), 15}, {"inner", w.item(0).get("y").item(0).get("z"), 17}, {"second", w.item(1), 18}, {"inner of second", w.item(1).get("y").item(0).get("z"), 20},
		{"table under an array", w.item(1).get("y").item(0).get("deep", "e"), 22},
	} {
		if c.node == nil || c.node.line != c.line {
			t.Errorf("%s: got %+v, want line %d", c.name, c.node, c.line)
		}
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	for _, open := range []string{"[", "{a=", "a."} {
		text := "a = "
		if open == "a." {
			text = ""
		}
		for range 10000 {
			text += open
		}
		if _, err := Read(write(t, "posthouse.toml", text+"1")); err == nil {
			t.Errorf("%s...: got no error", open)
		}
	}
}
