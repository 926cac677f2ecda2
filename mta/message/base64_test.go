package message_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/message"
)

func TestBase64IsInLinesThatEverybodyTakes(t *testing.T) {
	data := bytes.Repeat([]byte("octets\x00\xff"), 30)
	for n := range len(data) {
		text := string(message.AppendBase64([]byte("before\r\n"), data[:n]))
		body, ok := strings.CutPrefix(text, "before\r\n")
		if got, err := base64.StdEncoding.DecodeString(body); !ok || err != nil || !bytes.Equal(got, data[:n]) {
			t.Errorf("%d octets: got %q, %v", n, text, err)
		}
		lines := strings.SplitAfter(body, "\r\n")
		if last := lines[len(lines)-1]; last != "" {
			t.Errorf("%d octets: the line %q has no end", n, last)
		}
		for i, line := range lines[:len(lines)-1] {
			if len(line) > 78 || len(line) < 78 && i < len(lines)-2 || len(line) == 2 {
				t.Errorf("%d octets: got the line %q, want 76 characters", n, line)
			}
		}
	}
}
