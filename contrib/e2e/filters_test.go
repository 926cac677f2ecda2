package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filtered is an instance with filters that come along, by name, and the settings of each. table is of [filters].
func filtered(t *testing.T, table string, settings map[string]string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	more := "[filters]\ndirectory = \"" + dir + "/filters\"\nsettings = \"" + dir + "/filters.d\"\n" + table
	for name, text := range settings {
		write(t, filepath.Join(dir, "filters.d", name+".toml"), text)
		if err := os.MkdirAll(filepath.Join(dir, "filters"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(bin, "filter"), filepath.Join(dir, "filters", name)); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, options{more: more})
}

// TestQuarantinedMailIsHeldForTheOperator has each way out of quarantine.
func TestQuarantinedMailIsHeldForTheOperator(t *testing.T) {
	t.Parallel()
	i := filtered(t, "enabled = [\"policy\"]\nquarantine = \"hold\"\n", map[string]string{
		"policy": "[[settings.rule]]\nname = \"odd\"\nheader = { Subject = [\"^odd\"] }\naction = \"quarantine\"\ntext = \"an odd subject\"\n",
	})
	const why = "quarantined by policy: an odd subject"
	var ids []string
	for _, subject := range []string{"odd one", "odd two", "odd three"} {
		id := i.deposit(t, "Subject: "+subject+"\r\n\r\nx\r\n", "bob")
		i.smtpd.await(t, "event=filtered .*id="+id+" filter=policy stage=message verdict=quarantine text=\"an odd subject\"")
		i.queue.await(t, "event=held id="+id+" reason=\""+why+"\"")
		ids = append(ids, id)
	}
	i.delivered(i.deposit(t, "Subject: even\r\n\r\nx\r\n", "bob"), "bob")
	i.queue.kill()
	i.restart(&i.queue)
	list := i.inQueue("--status=held")
	if len(list) != 3 || list[0].ID != ids[0] || list[0].Why != why || len(i.files("bob")) != 1 {
		t.Fatalf("got %+v and %d in the mailbox, want three held and one delivered", list, len(i.files("bob")))
	}
	shown := i.ask("show", ids[0])
	if !strings.Contains(shown, "status    held\n") || !strings.Contains(shown, "why       "+why+"\n") {
		t.Errorf("show: got\n%s", shown)
	}
	i.ask("release", ids[0])
	i.delivered(ids[0], "bob")
	if junk, _ := filepath.Glob(filepath.Join(i.mailbox("bob"), ".Junk", "*", "*")); len(junk) > 0 || len(i.files("bob")) != 2 {
		t.Errorf("the released one: got %d in Junk and %d in the inbox, want it in the inbox", len(junk), len(i.files("bob")))
	}
	i.ask("remove", "--yes", ids[1])
	i.ask("bounce", "--reason", "not wanted here", ids[2])
	i.queue.await(t, "event=failed id="+ids[2])
	if list := i.inQueue("--status=held"); len(list) != 0 {
		t.Errorf("in the end: got %+v held, want none", list)
	}
	i.stop()
	i.wantSound()
}
