package mta_test

import (
	"errors"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestWhatIsUnknownIsDeferred(t *testing.T) {
	var o mta.Outcome
	if o.Status != mta.Deferred || o.Status.String() != "deferred" || mta.Status(77).String() != "deferred" {
		t.Errorf("got %v, want deferred", o.Status)
	}
	if got := o.Reply(); got.Code != 450 || !got.Temporary() {
		t.Errorf("got %v, want 450", got)
	}
}

func TestAnOutcomeWithoutACodeHasTheOneOfItsStatus(t *testing.T) {
	for _, c := range []struct {
		o    mta.Outcome
		want string
	}{
		{mta.Outcome{Status: mta.Delivered}, "250"},
		{mta.Outcome{Status: mta.Failed}, "550"},
		{mta.Outcome{Status: mta.Deferred, Text: "later"}, "450 later"},
		{mta.Outcome{Status: mta.Failed, Code: 552, Enhanced: "5.2.2", Text: "full", Cause: errors.New("local detail")}, "552 5.2.2 full"},
	} {
		if got := c.o.Reply().String(); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.o, got, c.want)
		}
	}
}

func TestAReplyIsOneLine(t *testing.T) {
	for want, r := range map[string]mta.Reply{
		"250":                       {Code: 250},
		"250 ok":                    {Code: 250, Text: "ok"},
		"550 5.1.1 no / such / one": {Code: 550, Enhanced: "5.1.1", Text: "no\nsuch\none"},
		"000":                       {},
	} {
		if got := r.String(); got != want || r.Error() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestACodeBelongsToOneClass(t *testing.T) {
	for code, want := range map[int]string{
		0: "", 199: "", 200: "+", 250: "+", 354: "+", 399: "+", 400: "t", 421: "t", 499: "t", 500: "p", 599: "p", 600: "", -1: "",
	} {
		r, got := mta.Reply{Code: code}, ""
		if r.Positive() {
			got += "+"
		}
		if r.Temporary() {
			got += "t"
		}
		if r.Permanent() {
			got += "p"
		}
		if got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}
