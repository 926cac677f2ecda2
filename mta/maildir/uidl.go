package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// UIDLs is what a server that had the Maildir before showed as UIDL, by the unique part of the file name.
type UIDLs map[string]string

// Formats of UIDLs: whose they are.
const (
	DovecotUIDLs = "dovecot"
	CourierUIDLs = "courier"
)

// UIDLFile is the name, in the Maildir, of the file that keeps UIDLs taken over from another server. It is written once:
// what the other server does later changes no UIDL.
const UIDLFile = "posthouse-pop3.uidl"

// Names, in the Maildir, of the files in which other servers keep UIDLs.
const (
	DovecotList = "dovecot-uidlist"
	CourierList = "courierpop3dsizelist"
)

const (
	uidlMagic    = "Posthouse UIDL 1"
	maxUIDLList  = 512 << 20
	maxUIDLValue = 70 // RFC 1939 7
)

// UIDLs returns the UIDLs that the former server gave the messages; empty where it left no list. The first call takes them
// over into UIDLFile.
func (m *Maildrop) UIDLs(format string) (UIDLs, error) {
	text, err := m.readList(UIDLFile)
	if err == nil {
		return parseUIDLs(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, parse := DovecotList, parseDovecot
	if format == CourierUIDLs {
		file, parse = CourierList, parseCourier
	}
	text, err = m.readList(file)
	if errors.Is(err, fs.ErrNotExist) {
		return UIDLs{}, nil
	}
	if err != nil {
		return nil, err
	}
	known, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path(file), err)
	}
	if m.lock == nil {
		return known, nil
	}
	return known, replaceFile(m.path(UIDLFile), known.encode())
}

func (m *Maildrop) readList(name string) ([]byte, error) {
	f, err := os.OpenFile(m.path(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxUIDLList {
		return nil, fmt.Errorf("%s: no regular file of a likely size", f.Name())
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return b, nil
}

// add takes one message's UIDL, where it can be one (RFC 1939 7) and the message has none yet.
func (u UIDLs) add(file, uidl string) {
	unique := file[:uniqueLen([]byte(file))]
	if unique == "" || strings.ContainsAny(unique, "\t\n") || !FitsUIDL(uidl) {
		return
	}
	if _, ok := u[unique]; !ok {
		u[unique] = uidl
	}
}

// FitsUIDL says whether s can be a UIDL: 1 to 70 characters from 0x21 to 0x7E (RFC 1939 7).
func FitsUIDL[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxUIDLValue
}

var errUIDLList = errors.New("no list of UIDLs that is known")

// parseDovecot reads dovecot-uidlist: a header "3 V<uidvalidity> N<next> ..." and lines "<uid> <field>... :<file>", or of
// version 1 "1 <uidvalidity> <next>" and "<uid> <file>". What Dovecot showed is the field P, where a message has one, and
// else UID and UIDVALIDITY as eight hexadecimal digits each (pop3_uidl_format = %08Xu%08Xv, whose digits are lower case).
func parseDovecot(text []byte) (UIDLs, error) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(head))
	var validity string
	for i, f := range fields {
		if v, ok := strings.CutPrefix(f, "V"); ok && fields[0] == "3" && i > 0 {
			validity = v
		}
	}
	if len(fields) > 1 && fields[0] == "1" {
		validity = fields[1]
	}
	v, err := strconv.ParseUint(validity, 10, 32)
	if err != nil {
		return nil, errUIDLList
	}
	known := UIDLs{}
	for line := range bytes.Lines(rest) {
		uid, file, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		n, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			continue
		}
		uidl := fmt.Sprintf("%08x%08x", n, v)
		if fields[0] == "3" {
			options, name, ok := strings.Cut(":"+file, " :")
			if !ok {
				options, name = "", strings.TrimPrefix(file, ":")
			}
			for f := range strings.FieldsSeq(strings.TrimPrefix(options, ":")) {
				if p, ok := strings.CutPrefix(f, "P"); ok {
					uidl = p
				}
			}
			file = name
		}
		known.add(file, uidl)
	}
	return known, nil
}

// parseCourier reads courierpop3dsizelist: a header "/<version> <next> <uidvalidity>" and lines "<file> <size>
// <uid>:<uidvalidity>[:...]". What Courier showed is UID<uid>-<uidvalidity>, without the latter where it is 0; the file name
// where the uid is 0, which older versions did.
func parseCourier(text []byte) (UIDLs, error) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if !bytes.HasPrefix(head, []byte("/")) {
		return nil, errUIDLList
	}
	known := UIDLs{}
	for line := range bytes.Lines(rest) {
		s := strings.TrimSuffix(string(line), "\n")
		i := strings.LastIndexByte(s, ' ')
		if i < 0 {
			continue
		}
		ids := strings.Split(s[i+1:], ":")
		j := strings.LastIndexByte(s[:i], ' ')
		if j < 0 || len(ids) < 2 {
			continue
		}
		uid, err := strconv.ParseUint(ids[0], 10, 64)
		validity, verr := strconv.ParseUint(ids[1], 10, 64)
		if err != nil || verr != nil {
			continue
		}
		known.add(s[:j], courierUIDL(s[:j], uid, validity))
	}
	return known, nil
}

func courierUIDL(file string, uid, validity uint64) string {
	switch {
	case uid != 0 && validity != 0:
		return fmt.Sprintf("UID%d-%d", uid, validity)
	case uid != 0:
		return fmt.Sprintf("UID%d", uid)
	}
	base, _, _ := strings.Cut(file, ":")
	var b strings.Builder
	for i := range len(base) {
		if c := base[i]; c < 0x21 || c > 0x7e || c == '\'' || c == '"' || c == '+' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// encode is the text of UIDLFile: a line for each message, its unique part, a tab, its UIDL.
func (u UIDLs) encode() []byte {
	var b bytes.Buffer
	b.WriteString(uidlMagic + "\n")
	for _, unique := range slices.Sorted(maps.Keys(u)) {
		b.WriteString(unique + "\t" + u[unique] + "\n")
	}
	return b.Bytes()
}

func parseUIDLs(text []byte) (UIDLs, error) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(head) != uidlMagic {
		return nil, fmt.Errorf("%s: %w", UIDLFile, errUIDLList)
	}
	known := UIDLs{}
	for line := range bytes.Lines(rest) {
		if unique, uidl, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t"); ok {
			known.add(unique, uidl)
		}
	}
	return known, nil
}
