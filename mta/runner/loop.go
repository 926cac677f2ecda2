package runner

import (
	"bytes"
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// maxLoopHeader is how much of a header is looked through for Delivered-To; what is in a loop has it near the top.
const maxLoopHeader = 1 << 20

// maxDeliveredTo bounds one field: an address, folded perhaps.
const maxDeliveredTo = 1 << 10

// deliveredTo is the field by which a delivery is known again: local deliveries and forwards put it in front.
const deliveredTo = "Delivered-To"

// looped says whether a message has been delivered to an address, or forwarded for it, before. A header that cannot be read says
// nothing: the delivery will fail by itself.
func (v *visit) looped(a mta.Address) bool {
	if v.seen == nil {
		v.seen = map[mta.Address]bool{}
		text := v.env.Prepend
		if v.env.Role == mta.RoleForward && strings.HasPrefix(text, deliveredTo) {
			_, text, _ = strings.Cut(text, "\n") // that of the alias whose members these are: one may have its name
		}
		prepend := strings.NewReader(text)
		v.note(prepend, prepend.Size())
		v.note(v.load.Content, v.load.Size)
	}
	return len(v.seen) > 0 && v.seen[folded(a)]
}

// note remembers the Delivered-To fields of a header.
func (v *visit) note(r io.ReaderAt, size int64) {
	for f, err := range message.Fields(r, size, maxLoopHeader) {
		if err != nil {
			return
		}
		if !strings.EqualFold(f.Name, deliveredTo) || f.Len > maxDeliveredTo {
			continue
		}
		text := make([]byte, f.Len)
		if _, err := r.ReadAt(text, f.Off); err != nil && err != io.EOF {
			return
		}
		_, value, _ := bytes.Cut(text, []byte(":"))
		if a, err := mta.ParseAddress(strings.Trim(strings.TrimSpace(string(value)), "<>")); err == nil {
			v.seen[folded(a)] = true
		}
	}
}

// folded makes two spellings of an address one, as routing does.
func folded(a mta.Address) mta.Address {
	a.Local = strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, a.Local)
	return a
}

// loop is what becomes of a recipient whom the message has reached before (RFC 3463 3.5).
func loop(a mta.Address) mta.Outcome {
	return mta.Outcome{Status: mta.Failed, Code: 554, Enhanced: "5.4.6", Text: "mail loop: the message has been delivered to <" + a.String() + "> before, and came back"}
}
