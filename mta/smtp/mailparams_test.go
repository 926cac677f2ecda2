package smtp_test

import (
	"errors"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestParseBy(t *testing.T) {
	for _, s := range []string{"", ";R", "120", "120;", "120;X", "120;RN", "120;TR", "0;R", "-1;R", "1234567890;N", "1e3;N", "--1;N", "+-1;N", "12 ;N", "1;R;T"} {
		if left, mode, err := smtp.ParseBy(s); !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("%q: got %v, %q, %v; want %v", s, left, mode, err, smtp.ErrParameter)
		}
	}
	for s, want := range map[string]struct {
		seconds int
		mode    string
	}{"120;R": {120, "R"}, "+1;rt": {1, "RT"}, "-999999999;N": {-999999999, "N"}, "0;nT": {0, "NT"}} {
		if left, mode, err := smtp.ParseBy(s); left != time.Duration(want.seconds)*time.Second || mode != want.mode || err != nil {
			t.Errorf("%q: got %v, %q, %v; want %+v", s, left, mode, err, want)
		}
	}
}

func TestParseHold(t *testing.T) {
	for _, s := range []string{"", "0", "-1", "+1", "1234567890", "1h", "1.5"} {
		if d, err := smtp.ParseHoldFor(s); !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("HOLDFOR %q: got %v, %v; want %v", s, d, err, smtp.ErrParameter)
		}
	}
	if d, err := smtp.ParseHoldFor("999999999"); d != 999999999*time.Second || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
	for _, s := range []string{"", "tomorrow", "2026-12-01", "2026-12-01T10:00:00", "2026-13-01T10:00:00Z", "2026-12-01 10:00:00Z"} {
		if at, err := smtp.ParseHoldUntil(s); !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("HOLDUNTIL %q: got %v, %v; want %v", s, at, err, smtp.ErrParameter)
		}
	}
	want := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	for _, s := range []string{"2026-12-01T10:00:00Z", "2026-12-01t12:00:00+02:00"} {
		if at, err := smtp.ParseHoldUntil(s); !at.Equal(want) || err != nil {
			t.Errorf("HOLDUNTIL %q: got %v, %v; want %v", s, at, err, want)
		}
	}
}

func TestParsePriority(t *testing.T) {
	for _, s := range []string{"", "-", "+1", "10", "-10", "-0", "x", "1 "} {
		if n, err := smtp.ParsePriority(s); !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("%q: got %d, %v; want %v", s, n, err, smtp.ErrParameter)
		}
	}
	for s, want := range map[string]int{"0": 0, "9": 9, "-9": -9, "4": 4} {
		if n, err := smtp.ParsePriority(s); n != want || err != nil {
			t.Errorf("%q: got %d, %v; want %d", s, n, err, want)
		}
	}
}
