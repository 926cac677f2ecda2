package asuser

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Delivery is what deliver-local reads first: one line of JSON, behind which the message stands as it is to stand in a
// mailbox, with LF line ends.
type Delivery struct {
	ID        mta.ID      `json:"id"`
	Index     int         `json:"index"` // the recipient's number in the message
	Host      string      `json:"host"`  // stands in the name of the file
	Sender    mta.Address `json:"sender"`
	Recipient mta.Address `json:"recipient"`
	Extension string      `json:"extension,omitempty"` // what stood behind the delimiter
	Folder    string      `json:"folder,omitempty"`    // where a filter wants it; it is made
	Mailbox   string      `json:"mailbox,omitempty"`   // the Maildir of who has no ~/.forward: "~/Maildir"
	Target    Target      `json:"target,omitzero"`     // what an earlier Result named; the zero Target: ~/.forward decides
	Look      bool        `json:"look,omitempty"`      // an earlier try may have delivered
	Size      int64       `json:"size"`                // of the message, in octets: one that was cut short is not delivered
}

// Target is one entry of ~/.forward.
type Target struct {
	Kind  string `json:"kind"`
	Value string `json:"value,omitempty"`
}

// Kinds of targets, and what Value is.
const (
	ToAddress = "address" // an address
	ToMailbox = "mailbox" // the user's own mailbox: nothing
	ToMaildir = "maildir" // a path, from / on or from ~/
	ToProgram = "program" // a command: words, without a shell
	ToNothing = "discard" // nothing
)

// Result is what deliver-local says in the end. Targets, where there are any, are what ~/.forward wants: nothing was
// delivered then, and each of them is to be delivered by itself.
type Result struct {
	Status   string   `json:"status"` // as mta.Status has it
	Code     int      `json:"code"`
	Enhanced string   `json:"enhanced"`
	Text     string   `json:"text"`
	Cause    string   `json:"cause,omitempty"` // local detail, for the log alone
	Targets  []Target `json:"targets,omitempty"`
}

// Bounds of what a user's process may say.
const (
	MaxTargets   = 1000
	maxResult    = 512 << 10
	maxReplyText = 200
	maxCause     = 2000
)

// ResultOf is an Outcome as a Result.
func ResultOf(o mta.Outcome) Result {
	r := Result{Status: o.Status.String(), Code: o.Code, Enhanced: o.Enhanced, Text: o.Text}
	if o.Cause != nil {
		r.Cause = o.Cause.Error()
	}
	return r
}

// ReadResult reads a Result from a process that runs as a user, who may have written it: nothing of it is believed but what
// it can harm that user with. What is no result is an error.
func ReadResult(in io.Reader) (mta.Outcome, []Target, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxResult+1))
	if err != nil {
		return mta.Outcome{}, nil, err
	}
	var r Result
	if len(b) > maxResult {
		return mta.Outcome{}, nil, errors.New("deliver-local says more than it may")
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return mta.Outcome{}, nil, fmt.Errorf("deliver-local says nothing that can be read: %w", err)
	}
	if len(r.Targets) > 0 {
		return mta.Outcome{}, r.Targets, checkTargets(r.Targets)
	}
	o := mta.Outcome{Code: r.Code, Enhanced: r.Enhanced, Text: clean(r.Text, maxReplyText)}
	if r.Cause != "" {
		o.Cause = errors.New(clean(r.Cause, maxCause))
	}
	class := byte('4')
	switch r.Status {
	case mta.Delivered.String():
		o.Status, class = mta.Delivered, '2'
	case mta.Failed.String():
		o.Status, class = mta.Failed, '5'
	case mta.Deferred.String():
	default:
		return mta.Outcome{}, nil, fmt.Errorf("deliver-local says %.32q", r.Status)
	}
	if o.Code/100 != int(class-'0') || o.Code > 599 || !isEnhanced(o.Enhanced, class) || o.Text == "" {
		return mta.Outcome{}, nil, fmt.Errorf("deliver-local says %s with %d %.16q", r.Status, r.Code, r.Enhanced)
	}
	return o, nil, nil
}

func checkTargets(list []Target) error {
	if len(list) > MaxTargets {
		return fmt.Errorf("~/.forward has more than %d targets", MaxTargets)
	}
	for _, t := range list {
		ok := false
		switch t.Kind {
		case ToAddress:
			_, err := mta.ParseAddress(t.Value)
			ok = err == nil
		case ToMailbox, ToNothing:
			ok = t.Value == ""
		case ToMaildir, ToProgram:
			ok = t.Value != "" && len(t.Value) <= 4096 && !strings.ContainsAny(t.Value, "\x00\n")
		}
		if !ok {
			return fmt.Errorf("~/.forward has a target %.16q that is none", t.Kind)
		}
	}
	return nil
}

// clean makes text of one line of it.
func clean(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, s)
	return strings.TrimSpace(s[:min(len(s), most)])
}

// isEnhanced says whether s is an enhanced status code (RFC 3463) of a class.
func isEnhanced(s string, class byte) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != string(class) {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
