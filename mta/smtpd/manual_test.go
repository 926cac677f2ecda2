package smtpd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	pageReply   = regexp.MustCompile(`(?m)^\.It ([45]\d\d [45]\.\d+\.\d+) Pq (.+)$`)
	scriptReply = regexp.MustCompile(`(?m)^[SL]: ([45]\d\d [45]\.\d+\.\d+)\b`)
)

// refusals returns the events that smtpd.8 names for each reply that refuses something.
func refusals(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, m := range pageReply.FindAllStringSubmatch(readFile(t, "../../cmd/smtpd/smtpd.8"), -1) {
		if all[m[1]] != nil {
			t.Errorf("smtpd.8: %s stands there twice", m[1])
		}
		all[m[1]] = strings.Split(m[2], " , ")
	}
	if len(all) == 0 {
		t.Fatal("smtpd.8 has no table of refusals")
	}
	return all
}

// given returns the replies of class 4 and 5 that the code gives, and all enhanced codes in it.
func given(t *testing.T) (replies map[string]token.Position, enhanced string) {
	t.Helper()
	replies = map[string]token.Position{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var texts strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		texts.WriteString(readFile(t, file))
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			name, _ := call.Fun.(*ast.Ident)
			code, _ := call.Args[0].(*ast.BasicLit)
			sub, _ := call.Args[1].(*ast.BasicLit)
			if name == nil || name.Name != "reply" || code == nil || sub == nil || code.Value < "400" {
				return true
			}
			s, err := strconv.Unquote(sub.Value)
			if err != nil {
				t.Fatal(err)
			}
			replies[code.Value+" "+s] = fset.Position(call.Pos())
			return true
		})
	}
	return replies, texts.String()
}

func TestEveryRefusalIsInTheManual(t *testing.T) {
	page := refusals(t)
	replies, texts := given(t)
	if len(replies) < 20 {
		t.Fatalf("found %d replies, want them all", len(replies))
	}
	for r, at := range replies {
		if page[r] == nil {
			t.Errorf("%s: the reply %s is not in the table \"What is refused\" of smtpd.8: give it a line, with the event that is logged", at, r)
		}
	}
	events := readFile(t, "../maillog/smtpd.go")
	for r, names := range page {
		_, sub, _ := strings.Cut(r, " ")
		if _, ok := replies[r]; !ok && r != "550 5.1.1" && !strings.Contains(texts, `"`+sub+`"`) { // that one is the router's
			t.Errorf("smtpd.8: nothing answers %s", r)
		}
		for _, e := range names {
			if !strings.Contains(events, `"`+e+`"`) {
				t.Errorf("smtpd.8: %s: there is no event %s", r, e)
			}
		}
	}
}

// logged holds the log of a dialogue against the manual: each refusal in the script has left one of its events there.
func logged(t *testing.T, page map[string][]string, script, log string) {
	t.Helper()
	for _, m := range scriptReply.FindAllStringSubmatch(script, -1) {
		// Behind the refusal of one chunk those that are on their way are refused without another line.
		found := m[1] == "503 5.5.1" && strings.Contains(script, "BDAT")
		for _, e := range page[m[1]] {
			for line := range strings.Lines(log) {
				found = found || strings.Contains(line, "event="+e+" ") && (e != "rejected" || strings.Contains(line, `reply="`+m[1]))
			}
		}
		if !found {
			t.Errorf("the reply %s left none of the events %q in the log", m[1], page[m[1]])
		}
	}
}
