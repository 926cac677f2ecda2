package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// filtered is an instance with filters that come along, by name, and the settings of each. table is of [filters].
func filtered(t *testing.T, table string, settings map[string]string) *instance {
	t.Helper()
	return filteredFor(t, nil, table, settings)
}

// filteredFor is filtered with these users.
func filteredFor(t *testing.T, users []string, table string, settings map[string]string) *instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	more := "[filters]\ndirectory = \"" + dir + "/filters\"\nsettings = \"" + dir + "/filters.d\"\n" + table
	for name, text := range settings {
		mtatest.Write(t, filepath.Join(dir, "filters.d", name+".toml"), text)
		if err := os.MkdirAll(filepath.Join(dir, "filters"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(bin, "filter"), filepath.Join(dir, "filters", name)); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, options{more: more, users: users})
}

// filterDir is where a filtered instance has its filters.
func (i *instance) filterDir() string {
	_, text, _ := strings.Cut(i.text, "[filters]\ndirectory = \"")
	dir, _, _ := strings.Cut(text, "\"")
	return dir
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
		i.smtpd.Await(t, "event=filtered .*id="+id+" filter=policy stage=message verdict=quarantine text=\"an odd subject\"")
		i.queue.Await(t, "event=held id="+id+" reason=\""+why+"\"")
		ids = append(ids, id)
	}
	i.delivered(i.deposit(t, "Subject: even\r\n\r\nx\r\n", "bob"), "bob")
	i.queue.Kill()
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
	i.queue.Await(t, "event=failed id="+ids[2])
	if list := i.inQueue("--status=held"); len(list) != 0 {
		t.Errorf("in the end: got %+v held, want none", list)
	}
	i.stop()
	i.wantSound()
}

// TestFilterRunTellsWhatWouldBecomeOfAMessage needs no daemon: a message goes through filters, and nowhere else.
func TestFilterRunTellsWhatWouldBecomeOfAMessage(t *testing.T) {
	t.Parallel()
	i := filtered(t, "score_junk = 3.0\n", map[string]string{
		"policy": `[settings]
rule = [
	{ name = "odd", header = { Subject = ["^odd"] }, action = "reject", text = "an odd subject" },
	{ name = "later", header = { Subject = ["^later"] }, action = "tempfail" },
	{ name = "nothing", header = { Subject = ["^nothing"] }, action = "discard" },
	{ name = "apart", header = { Subject = ["^apart"] }, action = "quarantine" },
	{ name = "spam", header = { Subject = ["^spam"] }, score = 4.0 },
	{ name = "ours", sender = ["^alice@"], role = ["submission"], add_header = ["X-Ours: yes"] },
]
`,
		"exec": "[settings]\ncommand = [\"/bin/false\"]\nunknown = 1\n",
	})
	i.stop()
	for _, c := range []struct {
		subject string
		args    []string
		status  int
		want    []string
	}{
		{"even", nil, 0, []string{"message                            policy  continue  ", "\ntaken\n", "to <postmaster@mx.here.test>\n", "\nthe message is unchanged\n"}},
		{"even", []string{"--role=submission", "--from=alice@here.test", "--to=x@far.test", "--to=y@far.test"}, 0,
			[]string{"from <alice@here.test>\nto <x@far.test>\nto <y@far.test>\n", "\n@@ -1,3 +1,4 @@\n+X-Ours: yes\n Subject: even\n"}},
		{"odd", nil, 1, []string{"\nrefused by policy at message: 550 5.7.1 an odd subject\n", "posthouse: the message would be refused\n"}},
		{"later", nil, 2, []string{"\ndeferred by policy at message: 451 "}},
		{"nothing", nil, 3, []string{"\ndiscarded by policy\n"}},
		{"apart", nil, 4, []string{"\nquarantined by policy\n", "(folder Junk)\n"}},
		{"spam", nil, 4, []string{"\nquarantined by score\n", "\nscore 4.00\n"}},
		{"even", []string{"exec"}, 5, []string{"exec.toml:3: unknown key settings.unknown"}},
		{"even", []string{"missing"}, 5, []string{"missing does not run: ", "no such file"}},
		{"even", []string{"--role=pop3"}, 64, []string{"--role \"pop3\": allowed: mx, submission, local"}},
		{"even", []string{"--client=nowhere"}, 64, []string{"--client: "}},
		{"even", []string{"--to=@"}, 64, []string{"--to @: "}},
		{"even", []string{"policy"}, 64, []string{"stands there twice"}},
		{"even", []string{"../policy"}, 64, []string{"is no name for a filter"}},
	} {
		status, out := i.posthouse("Subject: "+c.subject+"\n\nbody\n", append([]string{"filter", "run", "--config", i.conf, "policy"}, c.args...)...)
		if status != c.status {
			t.Errorf("%s %v: got status %d, want %d\n%s", c.subject, c.args, status, c.status, out)
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s %v: no %q in\n%s", c.subject, c.args, w, out)
			}
		}
	}
	status, out := i.posthouse("Subject: odd\n\nbody\n", "filter", "run", "--json", "--config", i.conf, "policy")
	var o struct {
		Fate, By, Reply, Stage string
		Filters                []struct{ Name, Version string }
		Answers                []struct{ Stage, Recipient, Filter, Verdict string }
	}
	text, _, _ := strings.Cut(out, "posthouse: ") // of standard error
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := len(o.Answers); status != 1 || o.Fate != "refused" || o.By != "policy" || o.Stage != "message" || len(o.Filters) != 1 || n == 0 || o.Answers[n-1].Verdict != "reject" {
		t.Errorf("got status %d, %+v", status, o)
	}
}
