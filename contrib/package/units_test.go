package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// asUser is the unit of the one program that needs root.
const asUser = "posthouse-as-user.service"

// capabilities are what services may have; the others have none.
var capabilities = map[string]string{asUser: "CAP_SETUID CAP_SETGID CAP_KILL CAP_DAC_READ_SEARCH CAP_SETPCAP"}

const unitsDir = "../../etc/systemd/system"

func units(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(unitsDir, pattern))
	if err != nil || len(list) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, unitsDir, err)
	}
	return list
}

// Unknown keys and bad values are told on standard error alone: there must be nothing.
func TestUnitsAreWhatSystemdKnows(t *testing.T) {
	analyze := mtatest.Need(t, "systemd-analyze")
	root := t.TempDir()
	for _, dir := range []string{"usr/sbin", "usr/lib/posthouse", "bin", "etc/systemd/system", "usr/lib/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, unit := range units(t, "posthouse-*") {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(unit))
		if err := os.WriteFile(filepath.Join(root, "etc/systemd/system", filepath.Base(unit)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	programs := []string{"bin/sh", "usr/sbin/posthouse", "usr/sbin/posthouse-smtpd", "usr/sbin/posthouse-queue-runner", "usr/sbin/posthouse-pop3d", "usr/lib/posthouse/as-user"}
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(root, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The targets that units of services and sockets need, as any system has them.
	for _, target := range []string{"sysinit.target", "basic.target", "shutdown.target", "multi-user.target", "sockets.target", "network.target", "network-online.target", "timers.target", "nss-lookup.target", "nss-user-lookup.target", "-.slice", "system.slice"} {
		text := "[Unit]\nDescription=" + target + "\nDefaultDependencies=no\n"
		if err := os.WriteFile(filepath.Join(root, "usr/lib/systemd/system", target), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no", "--recursive-errors=no", "--root=" + root}, names...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// What is left open is told in each unit: 2.0 is the most, and 5.0 for the one that becomes other users.
func TestServicesAreConfined(t *testing.T) {
	analyze := mtatest.Need(t, "systemd-analyze")
	for _, unit := range units(t, "*.service") {
		threshold := "--threshold=20"
		if strings.HasSuffix(unit, "/"+asUser) {
			threshold = "--threshold=50"
		}
		out, err := exec.CommandContext(t.Context(), analyze, "security", "--no-pager", "--offline=true", threshold, unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(unit), err, out)
		}
	}
}

// settings returns the assignments of a unit, by key.
func settings(t *testing.T, unit string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(unitsDir, unit))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			m[key] = append(m[key], value)
		}
	}
	return m
}

// connecting are the services of the daemons that have to know this machine's own addresses, or they would talk to themselves.
var connecting = []string{"posthouse-smtpd.service", "posthouse-queue-runner.service"}

// hopeless are the exit statuses of a service after which another start would end in the same way.
func hopeless(unit string) string {
	if unit == "posthouse-queue-runner.service" {
		return "64 65 78" // 65: a spool of a later version
	}
	return "64 78"
}

// Each of these costs mail when it is changed, and none of them shows in a test of one daemon alone.
func TestTrapsOfUnits(t *testing.T) {
	bad := map[string]string{
		"PrivateUsers":     "peers on Unix sockets lose their names",
		"RuntimeDirectory": "a stop would remove what belongs to others",
		"StateDirectory":   "it would give the folders of others to this daemon",
		"ProcSubset":       "the boot id is not to be read any more",
	}
	for _, unit := range units(t, "*.service") {
		name := filepath.Base(unit)
		set := settings(t, name)
		for key, why := range bad {
			if v := set[key]; v != nil {
				t.Errorf("%s: %s=%s: %s", name, key, v, why)
			}
		}
		for _, path := range strings.Fields(strings.Join(set["ReadWritePaths"], " ")) {
			if strings.HasPrefix(path, "/var/spool/posthouse/") {
				t.Errorf("%s: %s is a mount of its own, and renames into it fail", name, path)
			}
		}
		if slices.Equal(set["Type"], []string{"oneshot"}) {
			continue // no daemon
		}
		for key, want := range map[string]string{
			"Type": "notify", "Restart": "on-failure", "LogRateLimitIntervalSec": "0", "CapabilityBoundingSet": capabilities[name],
			"ExecReload": strings.Join(set["ExecStart"], "") + ` --check|/bin/sh -c "kill -HUP $MAINPID"`, "RestartPreventExitStatus": hopeless(name),
		} {
			if got := strings.Join(set[key], "|"); got != want || set[key] == nil {
				t.Errorf("%s: got %s=%q, want %q", name, key, got, want)
			}
		}
		if families := strings.Fields(strings.Join(set["RestrictAddressFamilies"], " ")); slices.Contains(connecting, name) && !slices.Contains(families, "AF_NETLINK") {
			t.Errorf("%s: got RestrictAddressFamilies=%v, want AF_NETLINK in it: the program ends where it cannot read this machine's addresses", name, families)
		}
		if set["WatchdogSec"] == nil || set["TimeoutStopSec"] == nil {
			t.Errorf("%s: want WatchdogSec and TimeoutStopSec", name)
		}
	}
	smtpd := settings(t, "posthouse-smtpd.service")
	for key, want := range map[string]string{"KillMode": "mixed", "OOMPolicy": "continue", "TimeoutStopSec": "90s"} {
		if got := strings.Join(smtpd[key], "|"); got != want {
			t.Errorf("posthouse-smtpd.service: got %s=%q, want %q", key, got, want)
		}
	}
	calls := strings.Fields(strings.Join(smtpd["SystemCallFilter"], " "))
	for _, call := range []string{"capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} {
		if !slices.Contains(calls, call) {
			t.Errorf("posthouse-smtpd.service: filters cannot be confined without %s in SystemCallFilter=%s", call, calls)
		}
	}
}
