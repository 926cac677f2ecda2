package host

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
)

// Bounds of one verdict.
const (
	maxText       = 400 // octets of a line for the client
	maxEdits      = 1000
	maxNotes      = 64
	maxProperties = 16
	maxValue      = 420 // in quotes, each octet escaped, it still fits into a line of 998
	maxScore      = 1e6
)

var (
	enhancedForm = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)
	keywordForm  = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
)

// verdict is what a filter said, checked.
type verdict struct {
	action proto.Action
	reply  mta.Reply
	text   string
	edits  []*proto.Edit
	notes  []*proto.Note
	score  float64
	delay  time.Duration
}

// checkVerdict refuses an answer that makes no sense, and bounds the rest.
func checkVerdict(v *proto.Verdict, filter string) (verdict, error) {
	out := verdict{action: v.Action, text: oneLine(v.Text, maxText), edits: v.Edits, score: v.Score, delay: time.Duration(v.DelayMs) * time.Millisecond}
	if v.Action < proto.Action_ACTION_CONTINUE || v.Action > proto.Action_ACTION_QUARANTINE {
		return out, fmt.Errorf("unknown action %d", v.Action)
	}
	if math.IsNaN(v.Score) || math.Abs(v.Score) > maxScore {
		return out, fmt.Errorf("score %v", v.Score)
	}
	if len(v.Edits) > maxEdits {
		return out, fmt.Errorf("%d edits, want %d at most", len(v.Edits), maxEdits)
	}
	if err := checkNotes(v.Notes); err != nil {
		return out, err
	}
	for _, n := range v.Notes {
		n.Filter = filter
	}
	out.notes = v.Notes
	return out, out.checkReply(int(v.Code), v.Enhanced)
}

// checkReply holds a reply's code to the action (RFC 5321 4.2, RFC 3463).
func (v *verdict) checkReply(code int, enhanced string) error {
	first, rest := 5, "7.1"
	switch v.action {
	case proto.Action_ACTION_REJECT:
		v.reply = mta.Reply{Code: 550, Text: "Refused by local policy"}
	case proto.Action_ACTION_TEMPFAIL:
		first = 4
		v.reply = mta.Reply{Code: 451, Text: "Not taken now, try again later"}
	default:
		return nil
	}
	v.reply.Enhanced = fmt.Sprintf("%d.%s", first, rest)
	if code != 0 {
		if code/100 != first || code > 599 {
			return fmt.Errorf("code %d does not go with its action", code)
		}
		v.reply.Code = code
		if code == 421 { // RFC 5321 3.8: it announces the end of the session, which goes on
			v.reply.Code = 451
		}
	}
	if enhanced != "" {
		if !enhancedForm.MatchString(enhanced) || int(enhanced[0]-'0') != first {
			return fmt.Errorf("enhanced code %q does not go with its action", oneLine(enhanced, 20))
		}
		v.reply.Enhanced = enhanced
	}
	if v.text != "" {
		v.reply.Text = v.text
	}
	return nil
}

func checkNotes(notes []*proto.Note) error {
	if len(notes) > maxNotes {
		return fmt.Errorf("%d notes, want %d at most", len(notes), maxNotes)
	}
	for _, n := range notes {
		if n == nil || !keywordForm.MatchString(n.Method) || !keywordForm.MatchString(n.Result) {
			return errors.New("a note without a method and a result that are keywords")
		}
		if len(n.Properties) > maxProperties {
			return fmt.Errorf("%d properties in a note, want %d at most", len(n.Properties), maxProperties)
		}
		n.Reason = oneLine(n.Reason, maxValue)
		for _, p := range n.Properties {
			if p == nil || !slices.Contains([]string{"smtp", "header", "body", "policy", "dns"}, p.Type) || !keywordForm.MatchString(p.Name) {
				return errors.New("a note's property that is not of the form smtp|header|body|policy|dns . name")
			}
			p.Value = oneLine(p.Value, maxValue)
		}
	}
	return nil
}

// word names a verdict for log and counters.
func (v *verdict) word() string {
	switch v.action {
	case proto.Action_ACTION_ACCEPT:
		return "accept"
	case proto.Action_ACTION_REJECT:
		return "reject"
	case proto.Action_ACTION_TEMPFAIL:
		return "tempfail"
	case proto.Action_ACTION_DISCARD:
		return "discard"
	case proto.Action_ACTION_QUARANTINE:
		return "quarantine"
	}
	if len(v.edits) > 0 {
		return "edit"
	}
	return "continue"
}
