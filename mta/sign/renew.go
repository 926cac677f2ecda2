package sign

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// signatureField is the field of a signature (RFC 6376 3.5).
const signatureField = "DKIM-Signature"

// maxOwn is how many signatures of a message are looked at.
const maxOwn = 16

// formFields are what a message may have to get with another form (RFC 2045 3).
var formFields = []string{"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

// Source is a message with CR LF line ends that can be read again after a Reset.
type Source interface {
	io.Reader
	Reset()
	Size() int64
}

// Own is a signature of a message that was made with a key of this host, and is valid.
type Own struct {
	key   Key
	names []string // that it covers
	field int      // which of the message's signatures it is, from the top
}

// Signatures looks at the signatures of the message that r gives, with keys that are at hand: it asks no DNS. Own are the
// valid ones of this host. Others says that there is one of somebody else, which only its maker could renew. A signature
// that names a key of this host and is not valid is neither: renewed, it would vouch for what this host never signed.
func Signatures(r io.Reader, key func(domain, selector string) (Key, bool)) (own []Own, others bool, err error) {
	header, body, err := Head(r)
	if err == nil {
		err = Check(header)
	}
	if err != nil {
		return nil, false, err
	}
	records := map[string]string{}
	for i, value := range values(header, signatureField) {
		tags, ok := tagList(value)
		if !ok {
			continue // valid for nobody
		}
		k, known := key(strings.ToLower(tags["d"]), strings.ToLower(tags["s"]))
		if !known || i >= maxOwn {
			others = true
			continue
		}
		record, err := k.Record()
		if err != nil {
			return nil, false, err
		}
		records[k.Name()] = record
		own = append(own, Own{key: k, field: i})
	}
	if len(own) == 0 {
		return nil, others, nil
	}
	whole := io.MultiReader(strings.NewReader(strings.Join(header, "")+"\r\n"), body, strings.NewReader(Ending))
	found, err := dkim.VerifyWithOptions(whole, &dkim.VerifyOptions{MaxVerifications: maxOwn, LookupTXT: func(name string) ([]string, error) {
		if record, ok := records[strings.ToLower(name)]; ok {
			return []string{record}, nil
		}
		return nil, errOther
	}})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return nil, others, fmt.Errorf("verify: %w", err)
	}
	own = slices.DeleteFunc(own, func(o Own) bool { return o.field >= len(found) || found[o.field].Err != nil })
	for i, o := range own {
		own[i].names = append(slices.Clone(found[o.field].HeaderKeys), formFields...)
	}
	return own, others, nil
}

// errOther is what a lookup for somebody else's key gives.
var errOther = errors.New("not a key of this host")

// values are those of the fields with a name.
func values(header []string, name string) []string {
	var all []string
	for _, raw := range header {
		if n, v, _ := strings.Cut(raw, ":"); strings.EqualFold(strings.TrimRight(n, " \t"), name) {
			all = append(all, v)
		}
	}
	return all
}

// Renewed is a message in a new form, with new signatures in the place of the old ones.
type Renewed struct {
	src  Source
	head string
	skip int64 // octets of src that head stands for
	rest io.Reader
}

// Renew makes the signatures anew for src, which is the message that they were found in, in another form. It reads src
// twice; src belongs to the Renewed from then on.
func Renew(src Source, own []Own) (*Renewed, error) {
	src.Reset()
	header, _, err := Head(src)
	if err != nil {
		return nil, err
	}
	m := &Renewed{src: src}
	for _, raw := range header {
		m.skip += int64(len(raw))
	}
	fresh := map[int]string{}
	for _, o := range own {
		src.Reset()
		all, err := message(src, []Key{o.key}, o.names)
		if err != nil {
			return nil, err
		}
		fresh[o.field] = signatureField + ": " + all[0] + "\r\n"
	}
	var b strings.Builder
	n := 0
	for i, name := range Names(header) {
		raw := header[i]
		if strings.EqualFold(name, signatureField) {
			if f, ok := fresh[n]; ok {
				raw = f
			}
			n++
		}
		b.WriteString(raw)
	}
	m.head = b.String()
	m.Reset()
	return m, nil
}

// Size returns the octets of the message.
func (m *Renewed) Size() int64 { return m.src.Size() - m.skip + int64(len(m.head)) }

// Reset begins again at the first octet.
func (m *Renewed) Reset() { m.rest = nil }

// Read implements io.Reader.
func (m *Renewed) Read(p []byte) (int, error) {
	if m.rest == nil {
		m.src.Reset()
		if _, err := io.CopyN(io.Discard, m.src, m.skip); err != nil {
			return 0, fmt.Errorf("message is shorter than it was: %w", err)
		}
		m.rest = io.MultiReader(strings.NewReader(m.head), m.src)
	}
	return m.rest.Read(p)
}
