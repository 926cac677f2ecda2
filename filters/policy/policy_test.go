package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/policy"
)

func configured(t *testing.T, text string) *policy.Filter {
	t.Helper()
	f := &policy.Filter{}
	if err := f.Configure(&filters.Site{}, filters.NewSettings("[settings]\n"+text)); err != nil {
		t.Fatal(err)
	}
	return f
}

func event(t *testing.T, message string) *filters.Event {
	t.Helper()
	return &filters.Event{Role: filters.RoleMX, Client: netip.MustParseAddrPort("[::ffff:203.0.113.1]:25"), ClientName: "mx.far.test", Helo: "MX.far.test",
		Sender: "Alice@far.test", Recipients: []string{"bob@here.test", "carol@here.test"}, Message: filtertest.Message(t, message)}
}

const plain = "From: alice@far.test\r\nSubject: =?utf-8?q?Cheap_w=61tches?=\r\n\r\nbody\r\n"

// mixed is a message with one attachment.
func mixed(fields string) string {
	return "From: a@far.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" + fields + "\r\n\r\nMZ\r\n--b--\r\n"
}

func TestRulesAtMessage(t *testing.T) {
	const exe = "attachment_name = ['\\.(exe|js)$']"
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100) + "Content-Type: x/y; name=a.exe\r\n\r\n"
	for _, c := range []struct {
		name, when, message string
		applies             bool
	}{
		{"a name", exe, mixed("Content-Disposition: attachment; filename=\"a.EXE\""), true},
		{"in the type", exe, mixed("Content-Type: application/x; name=a.exe"), true},
		{"in pieces", exe, mixed("Content-Disposition: attachment; filename*0=a.; filename*1=exe"), true},
		{"in another character set", exe, mixed("Content-Disposition: attachment; filename*=utf-8''a%2Eexe"), true},
		{"in an encoded word", exe, mixed("Content-Disposition: attachment; filename=\"=?utf-8?q?a=2Eexe?=\""), true},
		{"folded", exe, mixed("Content-Disposition: attachment;\r\n filename=a.exe"), true},
		{"without quotes around blanks", exe, mixed("Content-Disposition: attachment; filename=my file.exe"), true},
		{"a quote that does not end", exe, mixed("Content-Disposition: attachment; filename=\"a.exe"), true},
		{"twice", exe, mixed("Content-Disposition: attachment; filename=a.txt; filename=a.exe"), true},
		{"in a message in the message", exe, mixed("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: a/b; name=x.js\r\n\r\n--c--"), true},
		{"a part that does not end", exe, strings.TrimSuffix(mixed("Content-Disposition: attachment; filename=a.exe"), "\r\n--b--\r\n"), true},
		{"too deep to be looked for", exe, deep, false},
		{"another name", exe, mixed("Content-Disposition: attachment; filename=a.exe.txt"), false},
		{"no parts", exe, plain, false},
		{"no boundary", exe, "Content-Type: multipart/mixed\r\n\r\nx", false},
		{"a thousand parts", exe, "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n\r\n", 1000) + "--b\r\nContent-Type: x/y; name=a.exe\r\n\r\n\r\n--b--", false},
		{"a type", "attachment_type = ['^application/x-ms']", mixed("Content-Type: Application/X-MSdownload"), true},
		{"a type that is none", "attachment_type = ['^application/x-ms']", mixed("Content-Type: application/x-msdownload; ;;="), true},
		{"another type", "attachment_type = ['^application/x-ms']", mixed("Content-Type: text/x-application"), false},
		{"empty", exe, "", false},
		{"a field", "header = { subject = ['watches'] }", plain, true},
		{"a field that is not there", "header = { X-Nothing = [''] }", plain, false},
		{"two fields, of which one is not so", "header = { subject = ['watches'], from = ['bob'] }", plain, false},
		{"it lacks one", "lacks = ['Date', 'From']", plain, true},
		{"it lacks none", "lacks = ['Subject', 'From']", plain, false},
		{"larger", "larger_than = '1KB'", plain + strings.Repeat("x", 1024), true},
		{"not larger", "larger_than = '1KB'", plain, false},
		{"all that there is", "client = ['203.0.113.0/24']\nclient_name = ['\\.far\\.test$']\nhelo = ['^mx\\.']\nsender = ['^alice@']\nrecipient = ['^carol@']\nlogged_in = false\ntls = false\nrole = ['mx', 'local']\nheader = { subject = [''] }", plain, true},
		{"another network", "client = ['192.0.2.0/24']\nlacks = ['x']", plain, false},
		{"another role", "role = ['submission']\nlacks = ['x']", plain, false},
		{"nobody has logged in", "logged_in = true\nlacks = ['x']", plain, false},
		{"another recipient", "recipient = ['^dave@']\nlacks = ['x']", plain, false},
	} {
		f := configured(t, "[[settings.rule]]\n"+c.when+"\naction = 'reject'\ntext = 'no'\n")
		v, err := f.Message(t.Context(), event(t, c.message))
		if err != nil {
			t.Fatal(err)
		}
		if (v.Action == filters.Reject) != c.applies {
			t.Errorf("%s: got %+v, want that it applies: %v", c.name, v, c.applies)
		}
	}
}

func TestTheFirstActionDecides(t *testing.T) {
	f := configured(t, `
[[settings.rule]]
lacks = ["Date"]
score = 1.5
add_header = ["X-Undated: yes"]
[[settings.rule]]
name = "watches"
header = { Subject = ["watches"] }
action = "quarantine"
score = 2.0
[[settings.rule]]
header = { Subject = ["cheap"] }
action = "reject"
`)
	v, err := f.Message(t.Context(), event(t, plain))
	if err != nil {
		t.Fatal(err)
	}
	if v.Action != filters.Quarantine || v.Score != 3.5 || !strings.Contains(v.Text, "watches") || len(v.Added()) != 1 {
		t.Errorf("got %+v, %v", v, v.Added())
	}
}

func TestRulesOfTheEnvelopeAreDecidedAtRCPT(t *testing.T) {
	f := configured(t, `
[[settings.rule]]
recipient = ["^former@"]
sender = ["@far\\.test$"]
action = "reject"
text = "He has left"
[[settings.rule]]
recipient = ["^busy@"]
action = "tempfail"
`)
	for rcpt, want := range map[string]filters.Action{"Former@here.test": filters.Reject, "busy@here.test": filters.TempFail, "bob@here.test": filters.Continue} {
		e := event(t, plain)
		e.Recipient, e.Recipients = rcpt, nil
		v, err := f.Recipient(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if got := v != nil && v.Action == want; got != (want != filters.Continue) {
			t.Errorf("%s: got %+v, want action %d", rcpt, v, want)
		}
		e.Recipients = []string{"former@here.test"}
		if v, err := f.Message(t.Context(), e); err != nil || v.Action != filters.Continue {
			t.Errorf("%s: at Message: got %+v, %v", rcpt, v, err)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"sender = ['(']\naction = 'reject'", "line 2: rule 1: sender"},
		{"header = { 'a b' = ['x'] }\naction = 'reject'", "header"},
		{"header = { a = ['['] }\naction = 'reject'", "header.a"},
		{"client = ['x']\naction = 'reject'", "client"},
		{"role = ['x']\naction = 'reject'", "role"},
		{"larger_than = '10 apples'\naction = 'reject'", "larger_than"},
		{"larger_than = '9999999999GB'\naction = 'reject'", "larger_than"},
		{"name = 'b'\naction = 'bounce'", "rule b: action"},
		{"sender = ['x']", "it does nothing"},
		{"score = nan\naction = 'accept'", "score"},
		{"add_header = ['x y: z']", "add_header"},
		{"add_header = [\"X: a\\r\\nY: b\"]", "add_header"},
		{"sender = ['x']\nactoin = 'reject'", "unknown key"},
	} {
		err := (&policy.Filter{}).Configure(&filters.Site{}, filters.NewSettings("[settings]\n[[settings.rule]]\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParts(f *testing.F) {
	f.Add(mixed("Content-Disposition: attachment; filename*0*=utf-8''a; filename=\"\\\""))
	f.Add("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n")
	f.Fuzz(func(t *testing.T, message string) {
		fl := configured(t, "[[settings.rule]]\nattachment_name = ['x']\nattachment_type = ['y']\naction = 'reject'")
		if _, err := fl.Message(t.Context(), event(t, message)); err != nil {
			t.Error(err)
		}
	})
}
