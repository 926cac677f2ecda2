package rspamd_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
)

// startRspamd starts the real one with one rule of our own, on a socket.
func startRspamd(t *testing.T) string {
	path, dir := daemontest.Need(t, "rspamd"), daemontest.Dir(t)
	rules := daemontest.Write(t, dir, "rules.lua", `
rspamd_config:register_symbol({name = "TOLD", score = 7, callback = function(task)
  task:set_milter_reply({add_headers = {["X-Told"] = {value = string.format("%s %s %s %s %d %s", task:get_ip(), task:get_helo(), task:get_user(),
    task:get_from("smtp")[1].addr, #task:get_recipients("smtp"), task:get_queue_id()), order = 1}}, remove_headers = {["X-Old"] = 0}})
  return task:get_header("Subject") == "spam"
end})
`)
	tld := daemontest.Write(t, dir, "tld", "com\nnet\n") // its own list takes it many seconds
	conf := daemontest.Write(t, dir, "rspamd.conf", fmt.Sprintf(`
options { pidfile = "%[1]s/pid"; tempdir = "%[1]s"; control_socket = "%[1]s/control mode=0600"; hs_cache_dir = "%[1]s"; url_tld = "%[2]s"; filters = "";
  dns { nameserver = ["127.0.0.1:1:1"]; } }
lang_detection { languages = ["en"]; languages_path = "%[1]s/none"; }
logging { type = "console"; level = "warning"; }
actions { reject = 15; add_header = 6; rewrite_subject = 5; subject = "SPAM: %%s"; }
worker "normal" { bind_socket = "%[1]s/s mode=0666"; count = 1; }
lua = "%[3]s";
`, dir, tld, rules))
	daemontest.Start(t, "unix:"+dir+"/s", path, "-f", "-i", "-c", conf)
	return "address = \"unix:" + dir + "/s\"\n"
}

func TestARealRspamd(t *testing.T) {
	settings := startRspamd(t)
	e := filters.Event{
		Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "h.far.test", Login: "ann", Sender: "a@far.test", TLSVersion: "TLS1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
		Recipients: []string{"b@here.test", "c@here.test"},
	}
	const told = "+X-Told=192.0.2.1 h.far.test ann a@far.test 2 1K0ZRAC0VZ7FB7X7"
	text := func(subject, body string) string {
		return "Received: here\r\nX-Old: 1\r\nMessage-ID: <x@far.test>\r\nFrom: a@far.test\r\nSubject: " + subject + "\r\n\r\n" + body + "\r\n"
	}
	for _, c := range []struct {
		name, text string
		action     filters.Action
		said       string
		edits      string
	}{
		{"good", text("x", "Hello"), filters.Continue, "", "-X-Old[0] " + told},
		{"spam", text("spam", "Hello"), filters.Quarantine, "Rspamd: add-header, 7.00 of 15.00", "-X-Old[0] " + told + " -X-Spam[0] +X-Spam=Yes"},
		{"GTUBE", text("x", "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"), filters.Reject, "Gtube pattern", ""},
		{"large", text("x", strings.Repeat("A line of text.\r\n", 100_000)), filters.Continue, "", "-X-Old[0] " + told},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, settings, e, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(v.Edits(), " "); v.Action != c.action || v.Text != c.said || got != c.edits {
				t.Errorf("got %d %q %s; want %d %q %s", v.Action, v.Text, got, c.action, c.said, c.edits)
			}
		})
	}
	for i := range 20_000 { // more than its HTTP takes
		e.Recipients = append(e.Recipients, fmt.Sprintf("user%d@here.test", i))
	}
	if v, err := judge(t, settings, e, text("x", "Hello")); err != nil || v.Action != filters.Continue {
		t.Errorf("many recipients: got %+v, %v", v, err)
	}
}
