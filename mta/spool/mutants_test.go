package spool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutant is one sync, guard or ordering of the spool's protocol and the edit that takes it out. All edits are made in
// one build; each asks mutant(name), so that the environment says which of them is in force.
type mutant struct {
	name  string // stands in its edits as mutant("name")
	off   string // what is taken out
	edits []edit // none: another mutant's edit asks for this name as well
}

// edit replaces text that occurs exactly once in a file of mta/.
type edit struct{ file, old, new string }

// equivalent are mutants that no test can notice, and why that is so.
type equivalent struct{ name, reason string }

// Tests in the order in which they are tried on a mutant: the quick ones first. Each has a pattern of names, and one of
// those among them that are left out.
var mutantStages = [][2]string{
	{"^TestRepeatedCrashes$", "^$"},
	{".", "^(TestMutants|TestNothingIsLost|TestCrashAt|TestRepeated|TestMixed|TestEveryOperation|TestErrorThen)"},
	{"^(TestMixedCrashes|TestErrorThenCrash)$", "^$"},
	{"^(TestNothingIsLostOrDoubledWithoutCrash|TestCrashAtEveryOperation|TestEveryOperationFailing)$", "^$"},
}

const (
	mutantEnv     = "POSTHOUSE_MUTANT"
	mutantTimeout = 10 * time.Minute // of one run of the tests; a run that needs more has not noticed anything
)

const mutantSource = `package %s

import "os"

var chosenMutant = os.Getenv(%q)

func mutant(name string) bool { return name == chosenMutant }
`

// TestMutantsAreCaught takes out each sync, guard and ordering of the spool and of local delivery in turn: for each
// there is a test that fails. The environment says which of them, as a pattern of their names.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv("POSTHOUSE_MUTANTS") == "" {
		t.Skip("takes minutes: make mutants")
	}
	wanted, err := regexp.Compile(os.Getenv("POSTHOUSE_MUTANTS"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := buildMutants(t, dir)
	unseen := map[string]string{}
	for _, e := range equivalents {
		unseen[e.name] = e.reason
	}
	for _, stage := range mutantStages {
		if test, line, err := runMutant(t.Context(), bin, "", stage); test != "" || err != nil {
			t.Fatalf("without a mutant: %s %s %v", test, line, err)
		}
	}
	var (
		wg    sync.WaitGroup
		turn  = make(chan struct{}, 2)
		lines = make([]string, len(mutants))
	)
	for i, m := range mutants {
		if unseen[m.name] != "" {
			lines[i] = fmt.Sprintf("%-34s %s: cannot be noticed: %s", m.name, m.off, unseen[m.name])
			continue
		}
		if !wanted.MatchString(m.name) {
			continue
		}
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			test, line, err := catch(t.Context(), bin, m)
			switch {
			case err != nil:
				t.Errorf("mutant %q (%s): %v", m.name, m.off, err)
			case test == "":
				t.Errorf("mutant %q (%s): no test notices it", m.name, m.off)
			default:
				lines[i] = fmt.Sprintf("%-34s %s: %s: %s", m.name, m.off, test, line)
			}
		})
	}
	wg.Wait()
	t.Logf("%d mutants\n%s", len(mutants), strings.Join(lines, "\n"))
}

// catch returns the first test that fails with m, and the first line of its failure.
func catch(ctx context.Context, bin string, m mutant) (test, line string, err error) {
	for _, stage := range mutantStages {
		if test, line, err = runMutant(ctx, bin, m.name, stage); test != "" || err != nil {
			return test, line, err
		}
	}
	return "", "", nil
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+).*\n(?:\s*--- FAIL: (\S+).*\n)?\s*(.*)`)

// runMutant runs tests with one mutant in force; test is "" when all pass.
func runMutant(ctx context.Context, bin, name string, stage [2]string) (test, line string, err error) {
	ctx, cancel := context.WithTimeout(ctx, mutantTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.short", "-test.failfast", "-test.run", stage[0], "-test.skip", stage[1],
		"-test.timeout", "0")
	cmd.Env = append(os.Environ(), mutantEnv+"="+name, "GOGC=400", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", "", nil
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || ctx.Err() != nil {
		return "", "", fmt.Errorf("%s: %w", stage[0], err)
	}
	if f := failed.FindSubmatch(out); f != nil {
		test = string(f[1])
		if len(f[2]) > 0 {
			test = string(f[2])
		}
		return test, string(f[3]), nil
	}
	return "", "", fmt.Errorf("%s: %w, and no test failed: %s", stage[0], err, firstLine(out))
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// buildMutants compiles this package's tests with the edits of all mutants.
func buildMutants(t *testing.T, dir string) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	for file, text := range mutated(t, root) {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		overlay[filepath.Join(root, file)] = to
		pkg := filepath.Dir(file)
		extra := filepath.Join(dir, pkg+"_mutant.go")
		overlay[filepath.Join(root, pkg, "zz_mutant.go")] = extra
		for path, b := range map[string]string{to: text, extra: fmt.Sprintf(mutantSource, pkg, mutantEnv)} {
			if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	list, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "spool.test")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-vet=off", "-c", "-o", bin, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return bin
}

// mutated returns the edited files of mta/ by their paths in it. A text that is not there exactly once means that the
// code has moved on: the mutant has to follow it.
func mutated(t *testing.T, root string) map[string]string {
	t.Helper()
	edits, known, asked := map[string][]edit{}, map[string]bool{}, ""
	for _, m := range mutants {
		if known[m.name] {
			t.Errorf("mutant %q: two have this name", m.name)
		}
		known[m.name] = true
		for _, e := range m.edits {
			edits[e.file] = append(edits[e.file], e)
			asked += e.new
		}
	}
	for name := range known {
		if !strings.Contains(asked, fmt.Sprintf("mutant(%q)", name)) {
			t.Errorf("mutant %q: no edit asks for it", name)
		}
	}
	for _, e := range equivalents {
		if !known[e.name] {
			t.Errorf("equivalent %q: no mutant has this name", e.name)
		}
	}
	out := map[string]string{}
	for file, list := range edits {
		out[file] = applyEdits(t, filepath.Join(root, file), list)
	}
	if t.Failed() {
		t.FailNow()
	}
	return out
}

func applyEdits(t *testing.T, path string, list []edit) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, e := range list {
		if n := strings.Count(text, e.old); n != 1 {
			t.Errorf("%s has this text %d times, want once:\n%s", path, n, e.old)
			return ""
		}
	}
	at := func(e edit) int { return strings.Index(text, e.old) }
	slices.SortFunc(list, func(a, b edit) int { return at(a) - at(b) })
	var out strings.Builder
	end := 0
	for _, e := range list {
		if at(e) < end {
			t.Errorf("%s: this edit overlaps another:\n%s", path, e.old)
			return ""
		}
		out.WriteString(text[end:at(e)] + e.new)
		end = at(e) + len(e.old)
	}
	return out.String() + text[end:]
}
