package mta_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// full is an envelope with a value in every field.
func full() *mta.Envelope {
	at := time.Date(2026, 11, 24, 1, 2, 3, 456000, time.UTC)
	rcpt := mta.Recipient{Address: mta.Address{Local: "b o", Domain: "x"}, Notify: "SUCCESS,FAILURE", ORcpt: "rfc822;b@x", Folder: "Junk"}
	return &mta.Envelope{
		V: mta.EnvelopeVersion, ID: someID, Arrived: at, Role: mta.RoleMX, Sender: mta.Address{Local: "a", Domain: "x"}, Rcpts: []mta.Recipient{rcpt},
		Body: mta.Body8BitMIME, SMTPUTF8: true, RequireTLS: true, Ret: "HDRS", EnvID: "e+2Bid", Priority: 3,
		DeliverBy: &mta.DeliverBy{At: at, Mode: "RT"}, ReleaseAt: at, Hold: "why", Auth: "<>", Login: "a@x",
		Origin: mta.Origin{Listener: ":25", Client: "192.0.2.1:1", Name: "h.x", Helo: "h", TLS: "TLS 1.3", Cipher: "c"},
		Notes:  json.RawMessage(`{"spf":"pass"}`), Prepend: "Received: x\r\n", Cut: []mta.Range{{Off: 0, Len: 2}, {Off: 2, Len: 0}, {Off: 4, Len: 6}}, Size: 10,
		Report: &mta.Report{Parent: someID, Rcpts: []int{0, 2}}, Expands: &mta.Expansion{Parent: someID, Rcpt: 1, Members: []mta.Recipient{rcpt}},
	}
}

func TestAnEnvelopeComesBackAsItWas(t *testing.T) {
	e := full()
	v := reflect.ValueOf(*e)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() && v.Field(i).IsZero() {
			t.Fatalf("full leaves %s out", v.Type().Field(i).Name)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back mta.Envelope
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, e) {
		t.Errorf("got %+v, %v\nwant %+v", back, err, e)
	}
	if bytes.ContainsAny(b, "\r\n") {
		t.Errorf("got %q, want one line", b)
	}
}

func TestUnknownFieldsOfAnEnvelopeSurvive(t *testing.T) {
	in := `{"v":1,"id":"` + someID + `","zebra":{"b":[1, 2,{}]},"arrived":"2026-11-24T00:00:00Z","role":"mx","sender":"","rcpts":[{"address":"b@x"}],"origin":{},"size":3,"an\"other":null}`
	var e mta.Envelope
	if err := json.Unmarshal([]byte(in), &e); err != nil {
		t.Fatal(err)
	}
	e.Hold = "changed"
	b, err := json.Marshal(&e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"zebra":{"b":[1,2,{}]}`, `"an\"other":null`, `"hold":"changed"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s in it", b, want)
		}
	}
	var again mta.Envelope
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(&again); err != nil || !bytes.Equal(got, b) {
		t.Errorf("got %s, %v; want %s", got, err, b)
	}
}

func TestAnEnvelopeIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"id that leads elsewhere": `{"v":1,"id":"../../../etc/pas"}`,
		"no id":                   `{"v":1}`,
		"no version":              `{"id":"` + someID + `"}`,
		"negative version":        `{"v":-1,"id":"` + someID + `"}`,
		"cut before the content":  `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":-1,"len":2}]}`,
		"cut beyond the content":  `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":9,"len":2}]}`,
		"cut that wraps round":    `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":2,"len":9223372036854775807}]}`,
		"cut of negative length":  `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":5,"len":-3}]}`,
		"cuts that overlap":       `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":0,"len":5},{"off":4,"len":2}]}`,
		"cuts that fall":          `{"v":1,"id":"` + someID + `","size":10,"cut":[{"off":5,"len":1},{"off":0,"len":1}]}`,
		"address":                 `{"v":1,"id":"` + someID + `","sender":"a\r\nb@x"}`,
		"recipient":               `{"v":1,"id":"` + someID + `","rcpts":[{"address":"nobody"}]}`,
		"array":                   `[]`,
		"two values":              `{"v":1,"id":"` + someID + `"}{}`,
		"nothing":                 ``,
	} {
		var e mta.Envelope
		if err := json.Unmarshal([]byte(in), &e); err == nil || errors.Is(err, mta.ErrNewer) {
			t.Errorf("%s: got %+v, %v; want an error", name, e, err)
		}
	}
}

func TestANewerEnvelopeIsNoDamage(t *testing.T) {
	for _, in := range []string{
		`{"v":2,"id":"` + someID + `"}`,
		`{"v":2,"id":"in another form"}`,
		`{"v":2,"rcpts":"a field that has another type by then"}`,
	} {
		var e mta.Envelope
		if err := json.Unmarshal([]byte(in), &e); !errors.Is(err, mta.ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", in, err)
		}
	}
}

// FuzzEnvelope: what is accepted is written in a form that reads back as the same, unknown fields and all.
func FuzzEnvelope(f *testing.F) {
	b, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"id":"` + someID + `","size":3,"cut":[{"off":1,"len":2}],"new":[1,{"a":"\u003c"}],"ID":"` + someID + `F1"}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var e mta.Envelope
		if json.Unmarshal(in, &e) != nil {
			return
		}
		if _, err := mta.ParseID(string(e.ID)); err != nil {
			t.Fatalf("%q: id %q: %v", in, e.ID, err)
		}
		end := int64(0)
		for _, c := range e.Cut {
			if c.Off < end || c.Len < 0 || c.Off+c.Len > e.Size {
				t.Fatalf("%q: cut %v of %d", in, e.Cut, e.Size)
			}
			end = c.Off + c.Len
		}
		out, err := json.Marshal(&e)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		var back mta.Envelope
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q: written %q: %v", in, out, err)
		}
		again, err := json.Marshal(&back)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("got %q, %v\nwant %q", again, err, out)
		}
		keys(t, in, out)
	})
}

// keys checks that no field of in is missing in out, save known ones at their zero value, and that unknown ones kept
// their value.
func keys(t *testing.T, in, out []byte) {
	t.Helper()
	var a, b map[string]any
	if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil {
		t.Fatalf("%q became %q", in, out)
	}
	for k, v := range a {
		if slices.ContainsFunc(known, func(name string) bool { return strings.EqualFold(name, k) }) {
			continue
		}
		if got, ok := b[k]; !ok || !reflect.DeepEqual(got, v) {
			t.Fatalf("field %q: got %v, want %v", k, got, v)
		}
	}
}

var known = func() (names []string) {
	for f := range reflect.TypeFor[mta.Envelope]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}()
