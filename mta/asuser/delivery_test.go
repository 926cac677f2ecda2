package asuser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
)

func TestResultsAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []mta.Outcome{
		{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "delivered"},
		{Status: mta.Deferred, Code: 452, Enhanced: "4.3.1", Text: "no room", Cause: errors.New("write: full")},
		{Status: mta.Failed, Code: 550, Enhanced: "5.1.1", Text: "nobody"},
	} {
		b, err := json.Marshal(asuser.ResultOf(want))
		if err != nil {
			t.Fatal(err)
		}
		got, targets, err := asuser.ReadResult(bytes.NewReader(b))
		if err != nil || targets != nil || got.Status != want.Status || got.Reply() != want.Reply() || (got.Cause == nil) != (want.Cause == nil) {
			t.Errorf("got %+v, %v, %v; want %+v", got, targets, err, want)
		}
	}
}

// A user may have written it.
func TestResultsThatAreNone(t *testing.T) {
	for _, s := range []string{
		``, `x`, `{}`, `{"status":"delivered"}`, `{"status":"delivered","code":550,"enhanced":"5.0.0","text":"x"}`,
		`{"status":"failed","code":250,"enhanced":"2.0.0","text":"x"}`, `{"status":"failed","code":5500,"enhanced":"5.0.0","text":"x"}`,
		`{"status":"failed","code":550,"enhanced":"5.0.0\r\nX","text":"x"}`, `{"status":"failed","code":550,"enhanced":"5.0.0"}`,
		`{"status":"expanded","code":250,"enhanced":"2.0.0","text":"x"}`,
		`{"targets":[{"kind":"address","value":"no address"}]}`, `{"targets":[{"kind":"maildir"}]}`, `{"targets":[{"kind":"mailbox","value":"x"}]}`,
		`{"targets":[{"kind":"root"}]}`, `{"targets":[{"kind":"program","value":"a\nb"}]}`, `{"targets":[` + strings.Repeat(`{"kind":"mailbox"},`, 1000) + `{"kind":"mailbox"}]}`,
		`{"status":"delivered","text":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		if o, targets, err := asuser.ReadResult(strings.NewReader(s)); err == nil {
			t.Errorf("%.80s: got %+v, %v, want an error", s, o, targets)
		}
	}
	o, _, err := asuser.ReadResult(strings.NewReader(`{"status":"failed","code":550,"enhanced":"5.0.0","text":"no\r\nX: y ` + strings.Repeat("x", 1000) + `","cause":"a\nevent=forged"}`))
	if err != nil || strings.ContainsAny(o.Text, "\r\n") || len(o.Text) > 200 || strings.Contains(o.Cause.Error(), "\n") {
		t.Errorf("got %+v, %v; want it cleaned", o, err)
	}
}

func FuzzReadResult(f *testing.F) {
	f.Add([]byte(`{"status":"failed","code":550,"enhanced":"5.1.1","text":"nobody","cause":"x"}`))
	f.Add([]byte(`{"targets":[{"kind":"address","value":"a@x"},{"kind":"program","value":"/bin/cat"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, targets, err := asuser.ReadResult(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(targets) == 0 && (o.Text == "" || strings.ContainsAny(o.Text+o.Enhanced, "\r\n\x00") || o.Code/100 != map[mta.Status]int{mta.Delivered: 2, mta.Deferred: 4, mta.Failed: 5}[o.Status]) {
			t.Errorf("got %+v", o)
		}
	})
}
