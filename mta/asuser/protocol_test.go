package asuser_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/asuser"
)

func frame(json string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(json))), json...)
}

func TestRequestsThatAreNone(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                        frame(""),
		"no JSON":                        frame("deliver bob"),
		"longer than any":                append([]byte{0xff, 0xff}, bytes.Repeat([]byte("x"), 1<<16)...),
		"cut":                            frame(`{"op":"deliver","user":"bob"}`)[:20],
		"a field too many":               frame(`{"op":"deliver","user":"bob","uid":0}`),
		"two of them":                    frame(`{"op":"deliver","user":"bob"}{"op":"deliver","user":"root"}`),
		"an unknown operation":           frame(`{"op":"shell","user":"bob"}`),
		"no operation":                   frame(`{"user":"bob"}`),
		"no user":                        frame(`{"op":"deliver"}`),
		"a delivery with a password":     frame(`{"op":"deliver","user":"bob","password":"x"}`),
		"a delivery with a program":      frame(`{"op":"deliver","user":"bob","program":"x"}`),
		"a program with a user":          frame(`{"op":"program","user":"bob","program":"x"}`),
		"a session without a password":   frame(`{"op":"session","user":"bob"}`),
		"a check with no password":       frame(`{"op":"check","user":"bob","password":""}`),
		"a path":                         frame(`{"op":"deliver","user":"../root"}`),
		"a hidden name":                  frame(`{"op":"deliver","user":".."}`),
		"an option":                      frame(`{"op":"deliver","user":"-x"}`),
		"a blank":                        frame(`{"op":"deliver","user":"bob root"}`),
		"a line of the accounts":         frame(`{"op":"deliver","user":"bob:x:0"}`),
		"a NUL in the name":              frame(`{"op":"deliver","user":"bob\u0000"}`),
		"a NUL in the password":          frame(`{"op":"check","user":"bob","password":"a\u0000b"}`),
		"a password that is none":        frame(`{"op":"check","user":"bob","password":"` + strings.Repeat("x", 1025) + `"}`),
		"a name longer than any":         frame(`{"op":"deliver","user":"` + strings.Repeat("x", 65) + `"}`),
		"a password that is not in UTF8": frame("{\"op\":\"check\",\"user\":\"bob\",\"password\":\"\xff\"}"),
	} {
		if r, err := asuser.ReadRequest(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, r)
		} else if !errors.Is(err, asuser.ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want it called malformed", name, err)
		} else if strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: the error quotes it: %.80v", name, err)
		}
	}
}

func TestRequestsAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []asuser.Request{
		{Op: asuser.Deliver, User: "bob"},
		{Op: asuser.Program, Program: "lists"},
		{Op: asuser.Session, User: "b.o_b-1", Password: "pass word \" <ü>"},
		{Op: asuser.Check, User: "Bob", Password: strings.Repeat("\x01", 1024)},
	} {
		b, err := want.Encode()
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if got, err := asuser.ReadRequest(bytes.NewReader(b)); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// Whatever comes, what is read is a request that could have been written, and no other than its octets say.
func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{
		`{"op":"deliver","user":"bob"}`, `{"op":"program","program":"lists"}`, `{"op":"session","user":"bob","password":"secret"}`,
		`{"op":"check","user":"bob","password":"\u00fc\ud83d\ude00"}`, `{"op":"deliver","user":"root","user":"bob"}`, `{"OP":"deliver","User":"bob"}`, `[]`, `null`,
	} {
		f.Add(frame(s))
	}
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := asuser.ReadRequest(bytes.NewReader(b))
		if err != nil {
			return
		}
		if r.Op.Descriptors() > 2 {
			t.Errorf("%+v: %d descriptors", r, r.Op.Descriptors())
		}
		for _, name := range []string{r.User, r.Program} {
			if strings.ContainsAny(name, "/:\x00\n $") || strings.HasPrefix(name, "-") || len(name) > 64 {
				t.Errorf("got the name %q", name)
			}
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", r, err)
		}
		if got, err := asuser.ReadRequest(bytes.NewReader(again)); err != nil || got != r {
			t.Errorf("got %+v, %v; want %+v", got, err, r)
		}
	})
}
