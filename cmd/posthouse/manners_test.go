package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// each visits every command that does something itself.
func each(root *cobra.Command, do func(path []string, cmd *cobra.Command)) {
	var walk func(path []string, cmd *cobra.Command)
	walk = func(path []string, cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" {
				continue // cobra's own
			}
			walk(append(path[:len(path):len(path)], sub.Name()), sub)
		}
		if len(path) > 0 && !cmd.HasSubCommands() {
			do(path, cmd)
		}
	}
	walk(nil, root)
}

// lists are the commands that print a list or a table, for programs to read too.
var lists = []string{"cert status", "check", "explain", "filter list", "mailbox list", "queue dest", "queue list", "queue show", "queue stat", "status", "trace", "user list"}

// All commands have one manner: a sentence of what they do, a page that has each of them with each flag, and --json where they
// list.
func TestCommandsHaveOneManner(t *testing.T) {
	b, err := os.ReadFile("posthouse.8")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	synopsis, _, _ := strings.Cut(page, ".Sh DESCRIPTION")
	sentence := regexp.MustCompile(`^[A-Z].*[^.]$`)
	json := map[string]bool{}
	for _, l := range lists {
		json[l] = true
	}
	each(newRoot(), func(path []string, cmd *cobra.Command) {
		name := strings.Join(path, " ")
		if !sentence.MatchString(cmd.Short) {
			t.Errorf("%s: %q: want a sentence without its stop", name, cmd.Short)
		}
		group := regexp.QuoteMeta(strings.Join(path[:len(path)-1], " "))
		last := regexp.QuoteMeta(path[len(path)-1])
		if !regexp.MustCompile(`(?m)^\.Cm ` + strings.TrimSpace(group+` ([a-z| ]*\| )?`) + ` ?` + last + `( \||$)`).MatchString(synopsis) {
			t.Errorf("%s is not in the SYNOPSIS", name)
		}
		if json[name] && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s lists, and has no --json", name)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !regexp.MustCompile(`Fl -`+regexp.QuoteMeta(f.Name)+`\b|\| `+regexp.QuoteMeta(f.Name)+`\b`).MatchString(page) {
				t.Errorf("%s --%s is not in the manual page", name, f.Name)
			}
			if strings.HasSuffix(f.Usage, ".") || f.Usage == "" {
				t.Errorf("%s --%s: %q: want a phrase", name, f.Name, f.Usage)
			}
		})
	})
}

// What is wrong on the command line ends with 64, and with the help to ask for; a configuration that is not there with 78 or 74.
// Nothing is written to standard output then.
func TestEachCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	run := func(args ...string) (code int, out, errOut string) {
		var o, e strings.Builder
		code = execute(t.Context(), args, strings.NewReader(""), &o, &e)
		return code, o.String(), e.String()
	}
	each(newRoot(), func(path []string, cmd *cobra.Command) {
		name := strings.Join(path, " ")
		code, out, errOut := run(append(path[:len(path):len(path)], "--no-such-flag")...)
		if code != exitUsage || out != "" || !strings.HasSuffix(errOut, "Try 'posthouse "+name+" --help'.\n") || !strings.HasPrefix(errOut, "posthouse: ") {
			t.Errorf("%s --no-such-flag: got %d, %q, %q", name, code, out, errOut)
		}
		if code, out, _ := run(append(path[:len(path):len(path)], "--help")...); code != 0 || !strings.HasPrefix(out, cmd.Short+"\n") && !strings.HasPrefix(out, cmd.Long) {
			t.Errorf("%s --help: got %d, %q", name, code, out)
		}
	})
	for _, args := range [][]string{{}, {"queue"}, {"user"}, {"cert"}, {"filter"}, {"dkim"}, {"dmarc"}, {"mailbox"}, {"no-such-command"}, {"check", "too", "many"}} {
		if code, out, errOut := run(args...); code != exitUsage || out != "" || !strings.Contains(errOut, "Try 'posthouse ") {
			t.Errorf("%q: got %d, %q, %q", args, code, out, errOut)
		}
	}
}

func TestAMissingConfigurationIsTold(t *testing.T) {
	none := t.TempDir() + "/posthouse.toml"
	arguments := map[string][]string{
		"explain": {"a@example.org"}, "user add": {"a@example.org", "--no-password"}, "user passwd": {"a@example.org"}, "user remove": {"a@example.org"},
	}
	for _, name := range []string{"check", "status", "user list", "queue list", "queue stat", "queue dest", "queue check", "filter list", "dkim check", "cert status", "cert renew", "folders", "explain", "user remove"} {
		var out, errOut strings.Builder
		args := append(strings.Fields(name), arguments[name]...)
		code := execute(t.Context(), append(args, "--config", none), strings.NewReader(""), &out, &errOut)
		if (code != exitConfig && code != exitIO) || out.String() != "" || !strings.Contains(errOut.String(), none) {
			t.Errorf("%s: got %d, %q, %q", name, code, out.String(), errOut.String())
		}
	}
}

// What is wrong with arguments and options is said as the help shows them.
func TestACommandLineThatIsWrongIsToldWithWhatIsRight(t *testing.T) {
	for line, want := range map[string]string{
		"user add":                 "it is 'posthouse user add ADDRESS'",
		"user add a b":             "it is 'posthouse user add ADDRESS'",
		"user list x":              `unexpected argument "x"`,
		"user lst":                 `unknown command "lst"; is it list?`,
		"statu":                    `unknown command "statu"; is it status`,
		"folders --fix --tmpfiles": "--fix and --tmpfiles exclude each other",
		"setup x.test --key k":     "--certificate and --key go together: --certificate is missing",
		"completion tcsh":          "tcsh",
		"completion":               "no command given",
		"dmarc report --day x":     `"x" is no day`,
	} {
		_, path := home(t)
		args := strings.Fields(line)
		if args[0] == "dmarc" {
			args = append(args, "-c", path)
		}
		var out, errOut strings.Builder
		code := execute(t.Context(), args, strings.NewReader(""), &out, &errOut)
		if code != exitUsage || out.String() != "" || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: got %d, %q, %q; want %d, %q", line, code, out.String(), errOut.String(), exitUsage, want)
		}
	}
}

func TestHelpShowsOptionsAsTheyAreGiven(t *testing.T) {
	var out, errOut strings.Builder
	code := execute(t.Context(), []string{"queue", "list", "--help"}, strings.NewReader(""), &out, &errOut)
	if text := out.String(); code != 0 || strings.Contains(text, "true|false") || !strings.Contains(text, "--json ") || !strings.HasSuffix(text, "See posthouse(8).\n") {
		t.Errorf("got %d, %s", code, text)
	}
}
