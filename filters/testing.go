package filters

import (
	"bufio"
	"fmt"
	"os"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// FileMessage is the message in a file, as an event would have it: for the tests of a filter. A new body is written to
// bodyPath.
func FileMessage(id, path, bodyPath string) (*Message, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Message{ID: id, path: path, bodyPath: bodyPath}
	header := true
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		m.size += int64(len(line))
		header = header && line != "" && (line[0] == ' ' || line[0] == '\t' || isField(line))
		if header {
			m.headerSize += int64(len(line))
		}
		if err != nil {
			return m, nil
		}
	}
}

// Added returns the fields that the verdict adds, in its order: for the tests of a filter.
func (v *Verdict) Added() []Field {
	var fields []Field
	for _, e := range v.edits {
		if x, ok := e.GetEdit().(*proto.Edit_AddHeader); ok {
			a := x.AddHeader
			fields = append(fields, Field{a.Name, unfold(string(a.Value)), a.Name + ": " + string(a.Value) + "\r\n"})
		}
	}
	return fields
}

// Edits tells all edits of the verdict in their order, as in "+X=a" for a field at the top, "X=a+" for one at the bottom, "X[1]=a", "-X[0]",
// "body", "from=a@b", "+to=a@b", "-to=a@b" and "folder a@b Junk": for the tests of a filter.
func (v *Verdict) Edits() []string {
	var all []string
	for _, e := range v.edits {
		switch x := e.GetEdit().(type) {
		case *proto.Edit_AddHeader:
			a := x.AddHeader
			if a.Bottom {
				all = append(all, a.Name+"="+string(a.Value)+"+")
			} else {
				all = append(all, "+"+a.Name+"="+string(a.Value))
			}
		case *proto.Edit_ReplaceHeader:
			all = append(all, fmt.Sprintf("%s[%d]=%s", x.ReplaceHeader.Name, x.ReplaceHeader.Index, x.ReplaceHeader.Value))
		case *proto.Edit_RemoveHeader:
			all = append(all, fmt.Sprintf("-%s[%d]", x.RemoveHeader.Name, x.RemoveHeader.Index))
		case *proto.Edit_ReplaceBody:
			all = append(all, "body")
		case *proto.Edit_ChangeSender:
			all = append(all, "from="+x.ChangeSender)
		case *proto.Edit_AddRecipient:
			all = append(all, "+to="+x.AddRecipient)
		case *proto.Edit_RemoveRecipient:
			all = append(all, "-to="+x.RemoveRecipient)
		case *proto.Edit_Deliver:
			all = append(all, "folder "+x.Deliver.Recipient+" "+x.Deliver.Folder)
		}
	}
	return all
}
