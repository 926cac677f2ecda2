package filters

import (
	"io"
	"os"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// Action is what a verdict does.
type Action int

// Actions.
const (
	Continue   Action = iota // the next filter decides
	Accept                   // skip the filters behind me, at this stage
	Reject                   // for good: 5xx
	TempFail                 // for now: 4xx
	Discard                  // say yes and throw the message away
	Quarantine               // take it, for the folder Junk or for the operator, as smtpd's configuration says
)

// Verdict is an answer. The zero Verdict goes on to the next filter. All edits of a verdict are made, or none; where one
// cannot be made that is a failure of the filter.
type Verdict struct {
	Action   Action
	Code     int    // 0 = what the action says: 550 or 451
	Enhanced string // enhanced status code (RFC 3463); "" = what the action says
	Text     string // one line, for the client and for the log
	Notes    []Note
	Score    float64       // summed over all filters and stages; the configuration has the thresholds
	Delay    time.Duration // wait so long before the reply

	edits []*proto.Edit
}

// Rejected refuses for good, with 550 5.7.1.
func Rejected(text string) *Verdict { return &Verdict{Action: Reject, Text: text} }

// TempFailed refuses for now, with 451 4.7.1.
func TempFailed(text string) *Verdict { return &Verdict{Action: TempFail, Text: text} }

// Quarantined takes the message, for the folder Junk or for the operator.
func Quarantined(text string) *Verdict { return &Verdict{Action: Quarantine, Text: text} }

// AddHeader adds a field at the top. A folded value has its line ends, each with a blank behind it; lines that are too long
// are folded, where they have blanks, and NUL and CR, which cannot stand in a field, become blanks.
func (v *Verdict) AddHeader(name, value string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_AddHeader{AddHeader: &proto.AddHeader{Name: valid(name), Value: fieldValue(name, value)}}})
}

// AppendHeader adds a field behind all others.
func (v *Verdict) AppendHeader(name, value string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_AddHeader{AddHeader: &proto.AddHeader{Name: valid(name), Value: fieldValue(name, value), Bottom: true}}})
}

// ReplaceHeader gives the index-th field of that name (from 1, at the top) another value; where there is none it is added
// at the top.
func (v *Verdict) ReplaceHeader(name string, index int, value string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_ReplaceHeader{ReplaceHeader: &proto.ReplaceHeader{Name: valid(name), Index: uint32(index), Value: fieldValue(name, value)}}})
}

// RemoveHeader removes the index-th field of that name, from 1 at the top; 0 = all of them.
func (v *Verdict) RemoveHeader(name string, index int) {
	v.edit(&proto.Edit{Edit: &proto.Edit_RemoveHeader{RemoveHeader: &proto.RemoveHeader{Name: valid(name), Index: uint32(index)}}})
}

// ReplaceBody puts what r gives in the place of the body of e's message.
func (v *Verdict) ReplaceBody(e *Event, r io.Reader) error {
	f, err := os.OpenFile(e.Message.bodyPath, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		v.edit(&proto.Edit{Edit: &proto.Edit_ReplaceBody{ReplaceBody: &proto.ReplaceBody{}}})
	}
	return err
}

// ChangeSender gives the message another envelope sender, "" = the null sender. At Sender and Message.
func (v *Verdict) ChangeSender(address string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_ChangeSender{ChangeSender: valid(address)}})
}

// AddRecipient adds an envelope recipient. At Recipient and Message.
func (v *Verdict) AddRecipient(address string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_AddRecipient{AddRecipient: valid(address)}})
}

// RemoveRecipient takes an envelope recipient away. At Recipient and Message. A message without recipients is discarded.
func (v *Verdict) RemoveRecipient(address string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_RemoveRecipient{RemoveRecipient: valid(address)}})
}

// Deliver names the folder for a recipient's copy ("" = for each recipient's) instead of the inbox. A mailbox without that
// folder has it in the inbox.
func (v *Verdict) Deliver(recipient, folder string) {
	v.edit(&proto.Edit{Edit: &proto.Edit_Deliver{Deliver: &proto.Deliver{Recipient: valid(recipient), Folder: valid(folder)}}})
}

func (v *Verdict) edit(e *proto.Edit) { v.edits = append(v.edits, e) }
