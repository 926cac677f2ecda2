package grafana_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/pop3d"
)

var metric = regexp.MustCompile(`\bposthouse_[a-z0-9_]+`)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// existing are the metrics that the packages count, and those that the daemons' pages name beside them, which tests in
// cmd/ hold against the programs.
func existing(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, n := range mtatest.MetricNames(t, smtpd.NewMetrics(), runner.NewMetrics(), pop3d.NewMetrics()) {
		names[n] = true
	}
	for _, daemon := range []string{"smtpd", "queue-runner", "pop3d"} {
		for line := range strings.Lines(read(t, filepath.Join("..", "..", "cmd", daemon, daemon+".8"))) {
			if strings.HasPrefix(line, ".It Li posthouse_") {
				for _, n := range metric.FindAllString(line, -1) {
					names[n] = true
				}
			}
		}
	}
	return names
}

func TestOnlyMetricsThatExistAreWatched(t *testing.T) {
	names := existing(t)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		found := metric.FindAllString(read(t, file), -1)
		if len(found) == 0 {
			t.Errorf("%s: no metrics found", file)
		}
		for _, n := range found {
			base := regexp.MustCompile(`_seconds_(bucket|count|sum)$`).ReplaceAllString(n, "_seconds")
			if !names[n] && !names[base] {
				t.Errorf("%s: there is no metric %s", file, n)
			}
		}
	}
}

func TestTheDashboardIsOne(t *testing.T) {
	var d struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || len(d.Panels) == 0 {
		t.Fatalf("got %d panels", len(d.Panels))
	}
	rules := &strings.Builder{}
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range d.Panels {
		if p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("a panel %q has nothing to show", p.Title)
		}
		for _, x := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(x.Expr)
			quoted, err := json.Marshal(expr)
			if err != nil {
				t.Fatal(err)
			}
			rules.WriteString("  - record: x:y:z\n    expr: " + string(quoted) + "\n    labels: {panel: \"" + p.Title + "\", expr: " + string(quoted) + "}\n")
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

func TestTheAlertsComeWhenTheyShould(t *testing.T) {
	promtool(t, "check", "rules", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	path := mtatest.Need(t, "promtool")
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}
