package rspamd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Bounds of one answer.
const (
	maxEdits = 500
	maxScore = 100_000
)

// answer is what counts of the JSON that /checkv2 gives.
type answer struct {
	Action   string                  `json:"action"`
	Score    float64                 `json:"score"`
	Required float64                 `json:"required_score"`
	Subject  string                  `json:"subject"`
	Messages object[json.RawMessage] `json:"messages"`
	DKIM     several[string]         `json:"dkim-signature"`
	Milter   struct {
		Remove     object[several[float64]] `json:"remove_headers"`
		Add        object[several[added]]   `json:"add_headers"`
		ChangeFrom *string                  `json:"change_from"`
		AddRcpt    several[string]          `json:"add_rcpt"`
		DelRcpt    several[string]          `json:"del_rcpt"`
		Reject     string                   `json:"reject"` // what to do for the action reject: discard, quarantine
		NoAction   bool                     `json:"no_action"`
		SpamHeader json.RawMessage          `json:"spam_header"` // for the action add header: a value, or values by name
	} `json:"milter"`
}

// several are one value, or a list.
type several[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (s *several[T]) UnmarshalJSON(b []byte) error {
	var one T
	switch {
	case string(b) == "null", string(b) == "{}": // Lua knows one empty table
		return nil
	case b[0] == '[':
		return json.Unmarshal(b, (*[]T)(s))
	}
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*s = several[T]{one}
	return nil
}

// object are values by name. Lua's empty table may come as a list.
type object[T any] map[string]T

// UnmarshalJSON implements json.Unmarshaler.
func (o *object[T]) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, (*map[string]T)(o))
}

// added is a field to add, and whether at the bottom. What Rspamd calls the first place is behind the Received that is ours,
// for it takes that to be made later.
type added struct {
	value  string
	bottom bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *added) UnmarshalJSON(b []byte) error {
	var full struct {
		Value string   `json:"value"`
		Order *float64 `json:"order"`
		Index *float64 `json:"index"`
	}
	switch b[0] {
	case '{':
		if err := json.Unmarshal(b, &full); err != nil {
			return err
		}
		at := full.Order
		if at == nil {
			at = full.Index
		}
		*a = added{full.Value, at == nil || *at < 0} // without a place: as the milter protocol's addheader
		return nil
	case '"':
		a.bottom = true
		return json.Unmarshal(b, &a.value)
	}
	*a = added{string(b), true} // a number
	return nil
}

func parse(b []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %s", daemon.OneLine(err.Error()))
	}
	if a.Action == "" {
		return nil, errors.New("its answer has no action")
	}
	a.Score, a.Required = min(max(a.Score, -maxScore), maxScore), min(max(a.Required, -maxScore), maxScore)
	return &a, nil
}

// verdict does what Rspamd's own milter would.
func (f *Filter) verdict(m *filters.Message, a *answer) (*filters.Verdict, error) {
	v := &filters.Verdict{Score: a.Score * f.set.Score, Notes: []filters.Note{note(a)}}
	action := a.Action
	if a.Milter.NoAction {
		action = "no action"
	}
	switch action {
	case "reject":
		f.reject(v, a)
	case "soft reject":
		v.Action, v.Text = filters.TempFail, said(a, "Try again later")
	case "greylist":
		if v.Action = onGreylist[f.set.OnGreylist]; v.Action == filters.TempFail {
			v.Text = said(a, "Try again later")
		}
	case "quarantine":
		v.Action, v.Text = filters.Quarantine, found(a)
	case "discard":
		v.Action, v.Text = filters.Discard, found(a)
	case "add header":
		if v.Action = onAddHeader[f.set.OnAddHeader]; v.Action == filters.Quarantine {
			v.Text = found(a)
		}
	}
	if v.Action == filters.Reject || v.Action == filters.TempFail || v.Action == filters.Discard {
		return v, nil // nobody will see its edits
	}
	return v, f.edit(v, m, a, action)
}

func (f *Filter) reject(v *filters.Verdict, a *answer) {
	v.Action = onReject[f.set.OnReject]
	switch a.Milter.Reject {
	case "discard":
		v.Action = filters.Discard
	case "quarantine":
		v.Action = filters.Quarantine
	}
	switch v.Action {
	case filters.Reject:
		v.Text = said(a, "Spam message rejected")
	case filters.Quarantine, filters.Discard:
		v.Text = found(a)
	}
}

// note is for the filters behind this one.
func note(a *answer) filters.Note {
	return filters.Note{
		Method: "rspamd", Result: keyword(a.Action), Hidden: true,
		Properties: []filters.Property{{Type: "policy", Name: "score", Value: strconv.FormatFloat(a.Score, 'f', 2, 64)}},
	}
}

// keyword makes a word of an action, which the site may have named.
func keyword(action string) string {
	word := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, action[:min(len(action), 40)]), "-")
	if word == "" {
		return "unknown"
	}
	return word
}

// said is what Rspamd wants the client to be told.
func said(a *answer, otherwise string) string {
	var text string
	if json.Unmarshal(a.Messages["smtp_message"], &text) == nil && daemon.OneLine(text) != "" {
		return daemon.OneLine(text)
	}
	return otherwise
}

func found(a *answer) string {
	return fmt.Sprintf("Rspamd: %s, %.2f of %.2f", keyword(a.Action), a.Score, a.Required)
}

// edit makes what is to change: removed fields first, as Rspamd's milter does.
func (f *Filter) edit(v *filters.Verdict, m *filters.Message, a *answer, action string) error {
	e := &edits{v: v, m: m}
	for _, name := range slices.Sorted(maps.Keys(a.Milter.Remove)) {
		e.remove(name, a.Milter.Remove[name])
	}
	for _, name := range slices.Sorted(maps.Keys(a.Milter.Add)) {
		for _, field := range a.Milter.Add[name] {
			e.add(name, field.value, field.bottom)
		}
	}
	if a.Milter.ChangeFrom != nil && e.one() {
		v.ChangeSender(address(*a.Milter.ChangeFrom))
	}
	for _, to := range a.Milter.AddRcpt {
		if e.one() {
			v.AddRecipient(address(to))
		}
	}
	for _, to := range a.Milter.DelRcpt {
		if e.one() {
			v.RemoveRecipient(address(to))
		}
	}
	for _, value := range a.DKIM {
		e.add("DKIM-Signature", value, false)
	}
	switch {
	case a.Milter.NoAction:
		e.add("X-Rspamd-Action", a.Action, true)
	case action == "add header":
		f.mark(e, a.Milter.SpamHeader)
	case action == "rewrite subject" && a.Subject != "" && e.one():
		v.ReplaceHeader("Subject", 1, daemon.FieldValue(mime.QEncoding.Encode("utf-8", a.Subject)))
	}
	return e.err
}

// mark puts the field there that says spam, in the place of those that came with the message.
func (f *Filter) mark(e *edits, own json.RawMessage) {
	fields := map[string]string{f.set.SpamHeader: "Yes"}
	var value string
	var named map[string]string
	switch {
	case len(own) == 0:
	case json.Unmarshal(own, &value) == nil && value != "":
		fields[f.set.SpamHeader] = value
	case json.Unmarshal(own, &named) == nil && len(named) > 0:
		fields = named
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		e.remove(name, several[float64]{0})
		e.add(name, fields[name], false)
	}
}

// address takes the brackets off; what is none the host refuses.
func address(text string) string {
	return strings.Trim(text, "<> ")
}

// edits are those of one answer, bounded.
type edits struct {
	v      *filters.Verdict
	m      *filters.Message
	n      int
	counts map[string]int // of the message's fields by their names in small letters, once they are wanted
	err    error
}

// one says whether one more may be made.
func (e *edits) one() bool {
	if e.n++; e.n > maxEdits {
		e.err = fmt.Errorf("it wants more than %d changes", maxEdits)
	}
	return e.err == nil
}

func (e *edits) add(name, value string, bottom bool) {
	if !daemon.FieldName(name) || !e.one() {
		return
	}
	if value = daemon.FieldValue(value); bottom {
		e.v.AppendHeader(name, value)
	} else {
		e.v.AddHeader(name, value)
	}
}

// remove takes fields away by their places from 1 at the top, below 0 from the end, 0 = all. The later ones first, so that
// no place changes before its turn.
func (e *edits) remove(name string, places several[float64]) {
	if !daemon.FieldName(name) {
		return
	}
	var list []int
	for _, place := range places {
		at := int(min(max(place, -maxHeader), maxHeader))
		if at < 0 {
			if at += e.count(name) + 1; at < 1 {
				continue
			}
		}
		list = append(list, at)
	}
	slices.Sort(list)
	for _, at := range slices.Backward(slices.Compact(list)) {
		if e.one() {
			e.v.RemoveHeader(name, at)
		}
	}
}

func (e *edits) count(name string) int {
	if e.counts == nil && e.err == nil {
		e.counts = map[string]int{}
		fields, err := e.m.Header()
		if err != nil {
			e.err = &daemon.ReadError{Err: err}
		}
		for _, field := range fields {
			e.counts[strings.ToLower(field.Name)]++
		}
	}
	return e.counts[strings.ToLower(name)]
}
