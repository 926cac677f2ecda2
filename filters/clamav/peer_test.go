package clamav_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
)

func TestARealClamd(t *testing.T) {
	settings := "timeout = \"1m\"\naddress = \"" + daemontest.Clamd(t) + "\"\n"
	const mark = daemontest.Virus
	encoded := "From: a@far.test\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nYSB2aXJ1cyBvZiBvdXIgb3duLCBoYXJtbGVzcw==\r\n"
	for _, c := range []struct {
		name, settings, text string
		action               filters.Action
		said                 string
	}{
		{"good", "", message, filters.Continue, ""},
		{"a virus", "", message + mark, filters.Reject, "The message holds a virus: Test.Ours.UNOFFICIAL"},
		{"a virus that is encoded", "on_virus = \"quarantine\"", encoded, filters.Quarantine, "The message holds a virus: Test.Ours.UNOFFICIAL"},
		{"almost as large as it takes", "", message + strings.Repeat("A line of text.\r\n", 60_000) + mark, filters.Reject, "The message holds a virus: Test.Ours.UNOFFICIAL"},
		{"larger than it takes", "", message + strings.Repeat("A line of text.\r\n", 200_000) + mark, filters.Continue, ""},
		{"larger than it takes, refused", "on_too_large = \"reject\"", message + strings.Repeat("A line of text.\r\n", 600_000), filters.Reject, "The message is too large to be checked for viruses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := judge(t, settings+c.settings, c.text)
			if err != nil || v.Action != c.action || v.Text != c.said {
				t.Errorf("got %+v, %v; want %d %q", v, err, c.action, c.said)
			}
		})
	}
}
