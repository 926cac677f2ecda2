package daemontest

import (
	"encoding/hex"
	"fmt"
	"testing"
)

// GTUBE is what any spam filter calls spam.
const GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// Virus is what Clamd calls one.
const Virus = "a virus of our own, harmless"

// Rspamd starts the real one, with GTUBE and one rule of its own: the Subject "spam" is worth 7. It adds a field X-Told with
// what it knows of the session, and removes X-Old. The address is as in a filter's settings.
func Rspamd(t testing.TB) string {
	t.Helper()
	path, dir := Need(t, "rspamd"), Dir(t)
	rules := Write(t, dir, "rules.lua", `
rspamd_config:register_symbol({name = "TOLD", score = 7, callback = function(task)
  task:set_milter_reply({add_headers = {["X-Told"] = {value = string.format("%s %s %s %s %d %s", task:get_ip(), task:get_helo(), task:get_user() or "nobody",
    task:get_from("smtp")[1].addr, #task:get_recipients("smtp"), task:get_queue_id()), order = 1}}, remove_headers = {["X-Old"] = 0}})
  return task:get_header("Subject") == "spam"
end})
`)
	tld := Write(t, dir, "tld", "com\nnet\n") // its own list takes it many seconds
	conf := Write(t, dir, "rspamd.conf", fmt.Sprintf(`
options { pidfile = "%[1]s/pid"; tempdir = "%[1]s"; control_socket = "%[1]s/control mode=0600"; hs_cache_dir = "%[1]s"; url_tld = "%[2]s"; filters = "";
  dns { nameserver = ["127.0.0.1:1:1"]; } }
lang_detection { languages = ["en"]; languages_path = "%[1]s/none"; }
logging { type = "console"; level = "warning"; }
actions { reject = 15; add_header = 6; rewrite_subject = 10; subject = "SPAM: %%s"; }
worker "normal" { bind_socket = "%[1]s/s mode=0666"; count = 1; }
lua = "%[3]s";
`, dir, tld, rules))
	address := "unix:" + dir + "/s"
	Start(t, address, path, "-f", "-i", "-c", conf)
	return address
}

// Spamd starts SpamAssassin's real one with GTUBE and a quarter of a point each for the client c.far.test [192.0.2.1] that says
// h.far.test and for senders at far.test.
func Spamd(t testing.TB) string {
	t.Helper()
	path, dir, rules := Need(t, "spamd"), Dir(t), Dir(t)
	Write(t, dir, "init.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	Write(t, rules, "rules.cf", `
report_safe 0
rewrite_header Subject [SPAM]
use_bayes 0
clear_headers
add_header spam Flag _YESNOCAPS_
add_header all Status _YESNO_, score=_SCORE_ tests=_TESTS_
body GTUBE /XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\*C\.34X/
score GTUBE 1000
header CLIENT X-Spam-Relays-Untrusted =~ /^\[ ip=192\.0\.2\.1 rdns=c\.far\.test helo=h\.far\.test /
score CLIENT 0.25
header SENDER EnvelopeFrom =~ /^\w+\@far\.test/
score SENDER 0.25
`)
	address := "unix:" + dir + "/s"
	Start(t, address, path, "--local", "--nouser-config", "--configpath="+rules, "--siteconfigpath="+dir, "--socketpath="+dir+"/s",
		"--max-children=1", "--username=nobody", "--syslog=stderr", "--helper-home-dir="+dir)
	return address
}

// Clamd starts ClamAV's real one, which knows Virus as Test.Ours.UNOFFICIAL and takes 1 MiB.
func Clamd(t testing.TB) string {
	t.Helper()
	path, dir, db := Need(t, "clamd"), Dir(t), Dir(t)
	Write(t, db, "test.ndb", "Test.Ours:0:*:"+hex.EncodeToString([]byte(Virus))+"\n")
	conf := Write(t, dir, "clamd.conf", fmt.Sprintf(`
DatabaseDirectory %s
LocalSocket %s/s
Foreground yes
StreamMaxLength 1M
MaxThreads 2
`, db, dir))
	address := "unix:" + dir + "/s"
	Start(t, address, path, "--config-file="+conf)
	return address
}
