package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
)

// maxRcpts bounds the recipients of a message once filters have added theirs.
const maxRcpts = 100_000

// maxFolder bounds a folder's name; mta/maildir checks the rest.
const maxFolder = 200

// apply makes the edits of one verdict; body is where the filter may have written a new one. Where one edit is no good the
// draft is not to be used.
func (d *draft) apply(edits []*proto.Edit, body string) error {
	bodies := 0
	for _, e := range edits {
		var err error
		switch x := e.GetEdit().(type) {
		case *proto.Edit_AddHeader:
			err = d.header.add(x.AddHeader.GetName(), string(x.AddHeader.GetValue()), x.AddHeader.GetBottom())
		case *proto.Edit_ReplaceHeader:
			err = d.header.replace(x.ReplaceHeader.GetName(), x.ReplaceHeader.GetIndex(), string(x.ReplaceHeader.GetValue()))
		case *proto.Edit_RemoveHeader:
			d.header.remove(x.RemoveHeader.GetName(), x.RemoveHeader.GetIndex())
		case *proto.Edit_ReplaceBody:
			if bodies++; bodies > 1 {
				return errors.New("the body is replaced twice: each time takes room for a whole message")
			}
			err = d.adopt(body)
		default:
			err = d.envelope(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// envelope makes an edit of sender or recipients.
func (d *draft) envelope(e *proto.Edit) error {
	switch x := e.GetEdit().(type) {
	case *proto.Edit_ChangeSender:
		if strings.Trim(x.ChangeSender, "<>") == "" {
			d.sender = mta.Address{}
			return nil
		}
		a, err := d.address(x.ChangeSender)
		if err == nil {
			d.sender = a
		}
		return err
	case *proto.Edit_AddRecipient:
		a, err := d.address(x.AddRecipient)
		if err != nil || d.rcpt(a) >= 0 {
			return err
		}
		if len(d.rcpts) >= maxRcpts {
			return errors.New("too many recipients")
		}
		d.rcpts = append(d.rcpts, mta.Recipient{Address: a, Notify: "NEVER"}) // the sender did not name it, and is not to hear of it
		return nil
	case *proto.Edit_RemoveRecipient:
		a, err := d.address(x.RemoveRecipient)
		if err == nil {
			d.rcpts = slices.DeleteFunc(d.rcpts, func(r mta.Recipient) bool { return r.Address == a })
		}
		return err
	case *proto.Edit_Deliver:
		return d.deliver(x.Deliver.GetRecipient(), x.Deliver.GetFolder())
	}
	return errors.New("an edit of no known kind")
}

func (d *draft) rcpt(a mta.Address) int {
	return slices.IndexFunc(d.rcpts, func(r mta.Recipient) bool { return r.Address == a })
}

func (d *draft) address(s string) (mta.Address, error) {
	a, err := mta.ParseAddress(strings.Trim(s, "<>"))
	if err != nil {
		return a, fmt.Errorf("%q: %w", oneLine(s, 100), err)
	}
	if !a.IsASCII() && !d.utf8 {
		return a, fmt.Errorf("%q needs SMTPUTF8, which this message has not", oneLine(s, 100))
	}
	return a, nil
}

func (d *draft) deliver(to, folder string) error {
	if folder == "" || len(folder) > maxFolder || strings.ContainsFunc(folder, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' }) {
		return fmt.Errorf("%q is no name for a folder", oneLine(folder, 40))
	}
	if to == "" {
		for i := range d.rcpts {
			d.rcpts[i].Folder = folder
		}
		return nil
	}
	a, err := d.address(to)
	if err != nil {
		return err
	}
	if i := d.rcpt(a); i >= 0 {
		d.rcpts[i].Folder = folder
	}
	return nil
}

// mayEdit says which edits a stage allows: before the message is there, the sender and recipients alone.
func mayEdit(stage mta.Stage, edits []*proto.Edit) error {
	for _, e := range edits {
		ok := stage == mta.AtMessage
		switch e.GetEdit().(type) {
		case *proto.Edit_ChangeSender:
			ok = ok || stage == mta.AtSender
		case *proto.Edit_AddRecipient, *proto.Edit_RemoveRecipient, *proto.Edit_Deliver:
			ok = ok || stage == mta.AtRecipient
		}
		if !ok {
			return fmt.Errorf("an edit (%T) that the stage %s does not allow", e.GetEdit(), stage)
		}
	}
	return nil
}
