package exec_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/exec"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

const message = "From: a@far.test\r\nSubject: x\r\n\r\nbody\r\n"

// script is an executable, and the settings to run it.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return "[settings]\ncommand = [\"" + path + "\", \"an argument\"]\n"
}

func judge(t *testing.T, settings, text string) (*filters.Verdict, error) {
	t.Helper()
	f := &exec.Filter{}
	if err := f.Configure(&filters.Site{StateDirectory: t.TempDir()}, filters.NewSettings(settings)); err != nil {
		t.Fatal(err)
	}
	return f.Message(t.Context(), &filters.Event{
		Client: netip.MustParseAddrPort("203.0.113.1:25"), Sender: "$(touch /tmp/x)@far.test", Recipients: []string{"a@here.test", "b@here.test", "\"c\nd * \"@here.test"},
		ClientName: "*.far.test", Helo: "-x;id\x00", Login: "`id` a", Message: filtertest.Message(t, text),
	})
}

func TestWhatACommandAnswers(t *testing.T) {
	for _, c := range []struct {
		name, script, more string
		action             filters.Action
		text, err          string
		score              float64
	}{
		{"an endless one", "sleep 600", "timeout = \"200ms\"", 0, "", "did not end within 200ms", 0},
		{"one that leaves somebody behind", "sleep 600 & exit 1", "", filters.Reject, "", "", 0},
		{"one that talks for ever", "yes", "timeout = \"300ms\"", 0, "", "did not end", 0},
		{"one that says too much", "head -c 100000 /dev/zero", "", 0, "", "more than 65536 octets", 0},
		{"garbage", "echo hello", "", 0, "", `it says "hello"`, 0},
		{"a score that is none", "echo score nan", "", 0, "", "want a number", 0},
		{"a field without a name", "echo add-header x", "", 0, "", "want a field", 0},
		{"an unknown status", "exit 42", "", 0, "", "exit status 42", 0},
		{"killed", "kill -9 $$", "", 0, "", "signal: killed", 0},
		{"one that reads nothing", "exit 0", "", filters.Continue, "", "", 0},
		{"no", "echo text go away; exit 1", "", filters.Reject, "go away", "", 0},
		{"later", "exit 75", "", filters.TempFail, "", "", 0},
		{"apart", "exit 2", "", filters.Quarantine, "", "", 0},
		{"away", "exit 3", "", filters.Discard, "", "", 0},
		{"its own numbers", "exit 99", "status = { 0 = \"continue\", 99 = \"discard\" }", filters.Discard, "", "", 0},
		{"and no others", "exit 1", "status = { 0 = \"continue\", 99 = \"discard\" }", 0, "", "exit status 1", 0},
		{"scores", "echo score 1.5; echo; echo score 2", "", filters.Continue, "", "", 3.5},
		{"the message", "grep -q '^Subject: x' && echo text found", "", filters.Continue, "found", "", 0},
		{"the session", `echo "text $SENDER $CLIENT_ADDRESS $QUEUE_ID $1 $(echo $RECIPIENTS)"`, "", filters.Continue, "__touch_/tmp/x_@far.test 203.0.113.1 1K0ZRAC0VZ7FB7X7 an argument a@here.test b@here.test _c_d____@here.test", "", 0},
		{"what strangers choose, without quotation marks", `eval echo text $CLIENT_NAME $HELO $LOGIN $SENDER $RECIPIENTS`, "", filters.Continue,
			"_.far.test _x_id_ _id__a __touch_/tmp/x_@far.test a@here.test b@here.test _c_d____@here.test", "", 0},
		{"no more of ours", `env | grep -q -i secret && exit 1; exit 0`, "", filters.Continue, "", "", 0},
	} {
		t.Setenv("SECRET", "x")
		v, err := judge(t, script(t, c.script)+c.more, strings.Repeat(message, 10_000))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %+v, %v; want the error %s", c.name, v, err, c.err)
			}
			continue
		}
		if err != nil || v.Action != c.action || v.Text != c.text || v.Score != c.score {
			t.Errorf("%s: got %+v, %v; want action %d, %q, score %v", c.name, v, err, c.action, c.text, c.score)
		}
	}
}

func TestEdits(t *testing.T) {
	v, err := judge(t, script(t, "echo add-header X-Checked: by  me; echo folder Junk; echo remove-header X-Old:"), message)
	if err != nil {
		t.Fatal(err)
	}
	if added := v.Added(); len(added) != 1 || added[0].Raw != "X-Checked: by me\r\n" {
		t.Errorf("got %+v", added)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ text, want string }{
		{"", "command is not set"},
		{"command = [\"check\"]", "line 2: command: \"check\" has to begin with /"},
		{"command = [\"" + dir + "\"]", "cannot be executed"},
		{"command = [\"" + dir + "/nothing\"]", "no such file"},
		{"command = [\"/bin/sh\"]\ntimeout = \"1h\"", "line 3: timeout"},
		{"command = [\"/bin/sh\"]\nat_once = 0", "line 3: at_once"},
		{"command = [\"/bin/sh\"]\nstatus = { 200 = \"reject\" }", "line 3: status"},
		{"command = [\"/bin/sh\"]\nstatus = { 1 = \"bounce\" }", "line 3: status"},
		{"comand = []", "unknown key"},
	} {
		err := (&exec.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
