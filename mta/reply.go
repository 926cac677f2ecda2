package mta

import (
	"fmt"
	"strings"
)

// Reply is an SMTP reply (RFC 5321 4.2): a code of three digits, an enhanced status code (RFC 3463) or "", and text of
// one or more lines, "\n" between them.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

// Positive says whether the command was done (2yz) or may go on (3yz).
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary says whether the same command may succeed later (4yz).
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent says whether the same command will fail again (5yz).
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String is the reply on one line, as logs and reports show it.
func (r Reply) String() string {
	s := fmt.Sprintf("%03d", r.Code)
	if r.Enhanced != "" {
		s += " " + r.Enhanced
	}
	if r.Text != "" {
		s += " " + strings.ReplaceAll(r.Text, "\n", " / ")
	}
	return s
}

// Error makes a refusal an error.
func (r Reply) Error() string { return r.String() }
