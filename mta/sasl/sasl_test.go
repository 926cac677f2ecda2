package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// users is an Authenticator of one user, alice@example.org with password "tea", whom "alice" names too.
type users struct{ err error }

var _ sasl.Authenticator = users{}

func (u users) Authenticate(_ context.Context, login, password string) (string, error) {
	if u.err != nil {
		return "", u.err
	}
	if (login == "alice@example.org" || login == "alice") && password == "tea" {
		return "alice@example.org", nil
	}
	return "", mta.ErrCredentials
}

// none stands for no initial response.
const none = "(none)"

func TestExchanges(t *testing.T) {
	for _, c := range []struct {
		name, mechanism string
		responses       []string
		challenges      []string // before the last response
		want            error    // nil: alice is in
	}{
		{"act for another", "PLAIN", []string{"bob@example.org\x00alice@example.org\x00tea"}, nil, sasl.ErrCredentials},
		{"act for another, by name", "PLAIN", []string{"bob\x00alice\x00tea"}, nil, sasl.ErrCredentials},
		{"wrong password", "PLAIN", []string{"\x00alice\x00coffee"}, nil, sasl.ErrCredentials},
		{"no password", "PLAIN", []string{"\x00alice\x00"}, nil, sasl.ErrMalformed},
		{"no login", "PLAIN", []string{"\x00\x00tea"}, nil, sasl.ErrMalformed},
		{"one NUL", "PLAIN", []string{"alice\x00tea"}, nil, sasl.ErrMalformed},
		{"three NUL", "PLAIN", []string{"\x00alice\x00tea\x00"}, nil, sasl.ErrMalformed},
		{"empty initial response", "PLAIN", []string{""}, nil, sasl.ErrMalformed},
		{"no response at all", "PLAIN", []string{none, none}, []string{""}, sasl.ErrMalformed},
		{"not UTF-8", "PLAIN", []string{"\x00al\xffice\x00tea"}, nil, sasl.ErrMalformed},
		{"too long", "PLAIN", []string{"\x00alice\x00" + strings.Repeat("t", 4096)}, nil, sasl.ErrMalformed},
		{"again after success", "PLAIN", []string{"\x00alice\x00tea", "\x00alice\x00tea"}, []string{""}, sasl.ErrMalformed},
		{"initial response", "PLAIN", []string{"\x00alice\x00tea"}, nil, nil},
		{"response", "plain", []string{none, "\x00alice\x00tea"}, []string{""}, nil},
		{"act for oneself", "PLAIN", []string{"ALICE@example.org\x00alice\x00tea"}, nil, nil},
		{"act for oneself, by name", "PLAIN", []string{"alice\x00alice\x00tea"}, nil, nil},

		{"wrong password", "LOGIN", []string{none, "alice", "coffee"}, []string{"Username:", "Password:"}, sasl.ErrCredentials},
		{"again after a refusal", "LOGIN", []string{"alice", "coffee", "tea"}, []string{"Password:", ""}, sasl.ErrMalformed},
		{"no name", "LOGIN", []string{"", "tea"}, []string{"Password:"}, sasl.ErrMalformed},
		{"no password", "LOGIN", []string{"alice", ""}, []string{"Password:"}, sasl.ErrMalformed},
		{"NUL", "LOGIN", []string{"alice\x00bob"}, nil, sasl.ErrMalformed},
		{"no response at all", "LOGIN", []string{none, none}, []string{"Username:"}, sasl.ErrMalformed},
		{"too long", "LOGIN", []string{strings.Repeat("a", 4097)}, nil, sasl.ErrMalformed},
		{"three steps", "LOGIN", []string{none, "alice", "tea"}, []string{"Username:", "Password:"}, nil},
		{"initial response", "login", []string{"alice@example.org", "tea"}, []string{"Password:"}, nil},
	} {
		t.Run(c.mechanism+" "+c.name, func(t *testing.T) {
			s, err := sasl.New(t.Context(), c.mechanism, users{})
			if err != nil {
				t.Fatal(err)
			}
			last := len(c.responses) - 1
			for i, r := range c.responses {
				in := []byte(r)
				if r == none {
					in = nil
				}
				challenge, done, err := s.Next(in)
				if i < last {
					if string(challenge) != c.challenges[i] {
						t.Errorf("challenge %d: got %q, want %q", i, challenge, c.challenges[i])
					}
					continue
				}
				if !errors.Is(err, c.want) || done != (c.want == nil) {
					t.Errorf("got done %v, error %v; want error %v", done, err, c.want)
				}
				if c.want == nil && s.Identity() != "alice@example.org" {
					t.Errorf("got identity %q", s.Identity())
				}
			}
		})
	}
}

func TestFaultOfOursIsNoRefusal(t *testing.T) {
	for _, mechanism := range sasl.Mechanisms() {
		ours := errors.New("database is away")
		s, err := sasl.New(t.Context(), mechanism, users{ours})
		if err != nil {
			t.Fatal(err)
		}
		response := []byte("\x00alice\x00tea")
		if mechanism == "LOGIN" {
			if _, _, err := s.Next([]byte("alice")); err != nil {
				t.Fatal(err)
			}
			response = []byte("tea")
		}
		_, done, err := s.Next(response)
		if done || !errors.Is(err, ours) || errors.Is(err, sasl.ErrCredentials) || s.Identity() != "" {
			t.Errorf("%s: got done %v, identity %q, error %v; want %v", mechanism, done, s.Identity(), err, ours)
		}
	}
}

func TestUnknownMechanismsAreRefused(t *testing.T) {
	for _, mechanism := range []string{"", "CRAM-MD5", "PLAIN ", "EXTERNAL"} {
		if _, err := sasl.New(t.Context(), mechanism, users{}); !errors.Is(err, sasl.ErrMechanism) {
			t.Errorf("%q: got error %v, want ErrMechanism", mechanism, err)
		}
	}
}

func TestLinesOfBase64(t *testing.T) {
	for _, c := range []struct {
		line, want string
		err        error
	}{
		{"*", "", sasl.ErrCancelled},
		{"=", "", sasl.ErrMalformed},    // only an initial response may say so
		{"YQ", "", sasl.ErrMalformed},   // no padding
		{"YR==", "", sasl.ErrMalformed}, // bits left over
		{"YQ==\n", "", sasl.ErrMalformed},
		{"Y Q==", "", sasl.ErrMalformed},
		{"YQ==YQ==", "", sasl.ErrMalformed},
		{"_-8=", "", sasl.ErrMalformed},
		{strings.Repeat("A", sasl.MaxLine+4), "", sasl.ErrMalformed},
		{"", "", nil},
		{"AGFsaWNlAHRlYQ==", "\x00alice\x00tea", nil},
	} {
		got, err := sasl.Decode(c.line)
		if string(got) != c.want || !errors.Is(err, c.err) || err == nil && got == nil {
			t.Errorf("%.40q: got %q, error %v; want %q, error %v", c.line, got, err, c.want, c.err)
		}
	}
}

func TestInitialResponseTellsNoneFromEmpty(t *testing.T) {
	if got, err := sasl.DecodeInitial(""); got != nil || err != nil {
		t.Errorf("none: got %q, error %v; want nil", got, err)
	}
	if got, err := sasl.DecodeInitial("="); got == nil || len(got) != 0 || err != nil {
		t.Errorf("empty: got %#v, error %v; want an empty slice", got, err)
	}
	if _, err := sasl.DecodeInitial("*"); !errors.Is(err, sasl.ErrCancelled) {
		t.Errorf("cancelled: got error %v", err)
	}
}

// FuzzExchange holds that only the right password gets in, whatever the client sends.
func FuzzExchange(f *testing.F) {
	f.Fuzz(func(t *testing.T, mechanism, first, second string) {
		s, err := sasl.New(t.Context(), mechanism, users{})
		if err != nil {
			return
		}
		sent := ""
		for _, line := range []string{first, second} {
			b, err := sasl.Decode(line)
			if err != nil {
				return
			}
			if back := sasl.Encode(b); back != line {
				t.Errorf("%q: got back %q", line, back)
			}
			sent += string(b) + "\x00"
			_, done, err := s.Next(b)
			if done && (err != nil || !strings.Contains(sent, "tea") || s.Identity() != "alice@example.org") {
				t.Errorf("%q: in as %q, error %v", sent, s.Identity(), err)
			}
			if done || err != nil {
				return
			}
		}
	})
}
