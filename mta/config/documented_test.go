package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// keysOf returns the tags of each key under its name with its tables; a table with a free name is "domains.NAME", an
// item of an array of tables "smtpd.listen".
func keysOf(t reflect.Type, table string, into map[string]reflect.StructField) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		if name == "" || name == "-" {
			continue
		}
		key := strings.TrimPrefix(table+"."+name, ".")
		inner := f.Type
		switch inner.Kind() {
		case reflect.Map:
			key += ".NAME"
			inner = inner.Elem()
		case reflect.Slice:
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if isTable(inner) {
			keysOf(inner, key, into)
		} else {
			into[key] = f
		}
	}
}

func contractKeys() map[string]reflect.StructField {
	keys := map[string]reflect.StructField{}
	keysOf(reflect.TypeFor[Config](), "", keys)
	return keys
}

var (
	pageTable   = regexp.MustCompile(`^\.Ss (?:\[+([^\]]*)\]+|Top of the file)$`)
	pageKey     = regexp.MustCompile(`^\.It Ic (\S+)$`)
	sampleTable = regexp.MustCompile(`^(?:# e\.g\. )?\[+([^\]]*)\]+$`)
	sampleKey   = regexp.MustCompile(`^# (?:e\.g\. )?([a-z0-9_]+) = (.*?)(?:\s+# .*)?$`)
	freeName    = regexp.MustCompile(`^(domains|programs)\..*$`)
)

// documented returns what a page or a sample says of each key.
func documented(t *testing.T, path string, table, key *regexp.Regexp, skip int) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	said, in, at := map[string]string{}, "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if m := table.FindStringSubmatch(line); m != nil {
			in, at = freeName.ReplaceAllString(m[1], "$1.NAME"), ""
		} else if m := key.FindStringSubmatch(line); m != nil {
			at = strings.TrimPrefix(in+"."+m[1], ".")
			if _, twice := said[at]; twice {
				t.Errorf("%s: %s stands there twice", path, at)
			}
			said[at] = strings.Join(m[skip:], " ") + "\n"
		} else if strings.HasPrefix(line, ".Sh ") {
			at = ""
		} else if at != "" {
			said[at] += line + "\n"
		}
	}
	return said
}

// inFile is a value of a tag in the form that a file has.
func inFile(f reflect.StructField, text string) string {
	switch {
	case f.Type.Kind() == reflect.Slice:
		return fmt.Sprintf("[%q]", text)
	case f.Type.Kind() == reflect.Bool || f.Type.Kind() == reflect.Float64 || f.Type == reflect.TypeFor[int]():
		return text
	}
	return fmt.Sprintf("%q", text)
}

func TestEachKeyIsInTheManual(t *testing.T) {
	keys, said := contractKeys(), documented(t, "posthouse.toml.5", pageTable, pageKey, 2)
	for key, f := range keys {
		text, ok := said[key]
		if !ok {
			t.Errorf("posthouse.toml.5: nothing about %s", key)
			continue
		}
		var want []string
		if v, ok := f.Tag.Lookup("default"); ok {
			want = append(want, "Default: "+inFile(f, v)+".\n")
		}
		if v, ok := f.Tag.Lookup("min"); ok {
			want = append(want, "From "+inFile(f, v)+" to "+inFile(f, f.Tag.Get("max"))+".\n")
		}
		if _, off := f.Tag.Lookup("off"); off {
			want = append(want, "Not built yet.\n")
		}
		for _, v := range strings.Split(f.Tag.Get("oneof"), "|") {
			if v != "" {
				want = append(want, fmt.Sprintf("%q", v))
			}
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("posthouse.toml.5: of %s it says\n%swant %q in it", key, text, part)
			}
		}
	}
	for key := range said {
		if _, ok := keys[key]; !ok {
			t.Errorf("posthouse.toml.5: there is no key %s", key)
		}
	}
}

func TestEachKeyIsInTheSampleAtItsDefault(t *testing.T) {
	const path = "../../etc/posthouse/posthouse.toml"
	keys, said := contractKeys(), documented(t, path, sampleTable, sampleKey, 2)
	for key, f := range keys {
		text, ok := said[key]
		if !ok {
			t.Errorf("%s: nothing about %s", path, key)
			continue
		}
		value, _, _ := strings.Cut(text, "\n")
		if v, ok := f.Tag.Lookup("default"); ok && value != inFile(f, v) {
			t.Errorf("%s: %s is %s, want the default %s", path, key, value, inFile(f, v))
		}
	}
	for key := range said {
		if _, ok := keys[key]; !ok {
			t.Errorf("%s: there is no key %s", path, key)
		}
	}
}

func TestTheSampleMeansTheSameAsAnEmptyFile(t *testing.T) {
	sample, err := Load("../../etc/posthouse/posthouse.toml")
	if err != nil {
		t.Fatal(err)
	}
	empty, err := Load(write(t, "posthouse.toml", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(sample, empty) {
		t.Errorf("got %+v\nwant %+v", sample, empty)
	}
}

func TestTheSampleIsTakenWithItsDefaultsSwitchedOn(t *testing.T) {
	b, err := os.ReadFile("../../etc/posthouse/posthouse.toml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if m := sampleKey.FindStringSubmatch(strings.TrimSpace(line)); m != nil && !strings.HasPrefix(line, "# e.g.") {
			line = m[1] + " = " + m[2] + "\n"
		}
		lines = append(lines, line)
	}
	// The domain's keys belong to a table that is itself an example.
	from := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "# e.g. [domains.") })
	lines[from] = "[domains.\"example.org\"]\n"
	if _, err := Read(write(t, "posthouse.toml", strings.Join(lines, ""))); err != nil {
		t.Error(err)
	}
}

func TestTagsHoldValuesOfTheirFields(t *testing.T) {
	for key, f := range contractKeys() {
		for _, tag := range []string{"default", "min", "max", "off"} {
			text, ok := f.Tag.Lookup(tag)
			if !ok || f.Type.Kind() == reflect.Slice {
				continue
			}
			v := reflect.New(f.Type).Elem()
			if err := setText(v, text); err != nil {
				t.Errorf("%s: tag %s: %v", key, tag, err)
			} else if err := allowed(v, f.Tag); err != nil && tag != "off" {
				t.Errorf("%s: tag %s: %v", key, tag, err)
			}
		}
		if k := f.Type.Kind(); k == reflect.Int || k == reflect.Int64 {
			_, low := f.Tag.Lookup("min")
			_, high := f.Tag.Lookup("max")
			if _, off := f.Tag.Lookup("off"); low != high || !low && !off {
				t.Errorf("%s: a number without bounds", key)
			}
		}
	}
}
