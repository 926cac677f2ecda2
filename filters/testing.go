package filters

import (
	"bufio"
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
			fields = append(fields, Field{a.Name, unfold(a.Value), a.Name + ": " + a.Value + "\r\n"})
		}
	}
	return fields
}
