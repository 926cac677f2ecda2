package sign_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/posthouse-mail/posthouse/mta/sign"
)

// keys are some of a domain, and of another host.
func keys(t *testing.T) (all map[string]sign.Key, records map[string]string) {
	t.Helper()
	all, records = map[string]sign.Key{}, map[string]string{}
	for name, ed := range map[string]bool{"rsa.here.test": false, "ed.here.test": true, "x.far.test": true} {
		signer, _, err := sign.Generate(ed)
		if err != nil {
			t.Fatal(err)
		}
		selector, domain, _ := strings.Cut(name, ".")
		k := sign.Key{Domain: domain, Selector: selector, Signer: signer}
		all[name] = k
		if records[k.Name()], err = k.Record(); err != nil {
			t.Fatal(err)
		}
	}
	return all, records
}

// signedBy is text with the signatures of some keys on its top.
func signedBy(t *testing.T, text string, by ...sign.Key) string {
	t.Helper()
	header, _, err := sign.Head(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all, err := sign.Message(strings.NewReader(text), sign.Names(header), by)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, v := range all {
		b.WriteString("DKIM-Signature: " + v + "\r\n")
	}
	return b.String() + text
}

type source struct{ *strings.Reader }

func (s source) Reset() {
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		panic(err)
	}
}
func (s source) Size() int64 { return s.Reader.Size() }

func TestSignaturesAreRenewed(t *testing.T) {
	all, records := keys(t)
	own := func(domain, selector string) (sign.Key, bool) {
		k, ok := all[selector+"."+domain]
		return k, ok && domain == "here.test"
	}
	rsa, ed, far := all["rsa.here.test"], all["ed.here.test"], all["x.far.test"]
	const plain = "From: a@here.test\r\nSubject: x\r\n\r\n\xc3\xbc\r\n\r\n"
	const other = "From: a@here.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"
	cut := func(s string) string { return strings.TrimSuffix(s, plain) }
	forged := strings.Replace(signedBy(t, plain, rsa), "\xc3\xbc", "\xc3\xa4", 1)
	for _, c := range []struct {
		name   string
		text   string
		form   string // the message in its new form
		own    int
		others bool
	}{
		{"nobody's", plain, other, 0, false},
		{"ours", signedBy(t, plain, rsa), cut(signedBy(t, plain, rsa)) + other, 1, false},
		{"two of ours", signedBy(t, plain, rsa, ed), cut(signedBy(t, plain, rsa, ed)) + other, 2, false},
		{"below another field", "X-A: b\r\n" + signedBy(t, plain, ed), "X-A: b\r\n" + cut(signedBy(t, plain, ed)) + other, 1, false},
		{"another's", signedBy(t, plain, far), cut(signedBy(t, plain, far)) + other, 0, true},
		{"ours and another's", signedBy(t, plain, far, ed), cut(signedBy(t, plain, far, ed)) + other, 1, true},
		{"ours, of another content", forged, cut(signedBy(t, plain, rsa)) + other, 0, false},
		{"with our name alone", "DKIM-Signature: v=1; a=rsa-sha256; d=here.test; s=rsa; h=from; bh=x; b=x\r\n" + plain, other, 0, false},
		{"with the name of a key that we lack", "DKIM-Signature: v=1; a=rsa-sha256; d=here.test; s=gone; h=from; bh=x; b=x\r\n" + plain, other, 0, true},
		{"malformed", "DKIM-Signature: here.test\r\n" + plain, other, 0, false},
		{"many", strings.Repeat("DKIM-Signature: v=1; d=here.test; s=rsa\r\n", 40) + signedBy(t, plain, rsa), other, 0, true},
		{"no empty line", "From: a@here.test\r\n", other, 0, false},
		{"nothing", "", other, 0, false},
	} {
		found, others, err := sign.Signatures(strings.NewReader(c.text), own)
		if err != nil || len(found) != c.own || others != c.others {
			t.Errorf("%s: %d own, others %v, %v; want %d, %v", c.name, len(found), others, err, c.own, c.others)
			continue
		}
		m, err := sign.Renew(source{strings.NewReader(c.form)}, found)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		text, err := io.ReadAll(m)
		m.Reset()
		again, err2 := io.ReadAll(m)
		if err = errors.Join(err, err2); err != nil || string(again) != string(text) || int64(len(text)) != m.Size() {
			t.Errorf("%s: size %d, got %q, then %q, %v", c.name, m.Size(), text, again, err)
		}
		if c.own == 0 && string(text) != c.form {
			t.Errorf("%s: it was changed: %q", c.name, text)
		}
		checked, err := dkim.VerifyWithOptions(strings.NewReader(string(text)), &dkim.VerifyOptions{LookupTXT: func(n string) ([]string, error) { return []string{records[n]}, nil }})
		good := 0
		for _, v := range checked {
			if v.Err == nil {
				good++
			}
		}
		if err != nil || good != c.own {
			t.Errorf("%s: %d signatures are good, %v; want %d: %s", c.name, good, err, c.own, text)
		}
		if !strings.HasSuffix(string(text), other) || strings.HasPrefix(c.form, "X-A") != strings.HasPrefix(string(text), "X-A") {
			t.Errorf("%s: got %q", c.name, text)
		}
	}
}

func TestALargeHeaderIsNotRenewed(t *testing.T) {
	_, _, err := sign.Signatures(io.MultiReader(strings.NewReader("A: "), strings.NewReader(strings.Repeat("x\r\n ", 2<<20))), nil)
	if !errors.Is(err, sign.ErrHead) {
		t.Errorf("got %v", err)
	}
}
