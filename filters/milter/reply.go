package milter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// replyLine is one of a reply (RFC 5321 4.2, RFC 2034).
var replyLine = regexp.MustCompile(`^([45])([0-9][0-9])(?:[- ](?:([45]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$))?(.*))?$`)

// parseReply reads what smfi_setreply and smfi_setmlreply make. Several lines become one.
func parseReply(text string) (*filters.Verdict, error) {
	v := &filters.Verdict{}
	var said []string
	for i, line := range strings.Split(strings.TrimRight(text, "\r\n"), "\n") {
		m := replyLine.FindStringSubmatch(strings.TrimRight(line, "\r"))
		if m == nil {
			return nil, fmt.Errorf("it wants to reply %q", daemon.OneLine(text))
		}
		if i == 0 {
			v.Code, _ = strconv.Atoi(m[1] + m[2]) // three digits
			v.Action = filters.Reject
			if m[1] == "4" {
				v.Action = filters.TempFail
			}
			if m[3] != "" && m[3][:1] == m[1] {
				v.Enhanced = m[3]
			}
		}
		if words := strings.TrimSpace(m[4]); words != "" {
			said = append(said, strings.ReplaceAll(words, "%%", "%"))
		}
	}
	if v.Code == 421 { // the session goes on
		v.Code = 451
	}
	v.Text = daemon.OneLine(strings.Join(said, " "))
	return v, nil
}
