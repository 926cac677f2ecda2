package rspamd_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
)

func TestARealRspamd(t *testing.T) {
	settings := "timeout = \"1m\"\naddress = \"" + daemontest.Rspamd(t) + "\"\n"
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
		{"GTUBE", text("x", daemontest.GTUBE), filters.Reject, "Gtube pattern", ""},
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
