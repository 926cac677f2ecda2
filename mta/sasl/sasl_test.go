package sasl_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// users are Accounts of one user, alice@example.org with password "tea", whom "alice" names too. carol has no verifier for
// SCRAM.
type users struct {
	err     error
	noScram bool
	noPlus  bool
}

var _ sasl.Accounts = users{}

func (u users) OffersScram() (scram, plus bool) { return !u.noScram, !u.noPlus }

func (u users) Authenticate(_ context.Context, login, password string) (string, error) {
	if u.err != nil {
		return "", u.err
	}
	if (login == "alice@example.org" || login == "alice") && password == "tea" {
		return "alice@example.org", nil
	}
	return "", mta.ErrCredentials
}

func (u users) Scram(_ context.Context, login string) (string, mta.ScramVerifier, error) {
	switch {
	case u.err != nil:
		return "", mta.ScramVerifier{}, u.err
	case login == "carol":
		return "", mta.ScramVerifier{}, mta.ErrTransition
	case login == "alice@example.org" || login == "alice":
		return "alice@example.org", teaVerifier(), nil
	}
	return "", mta.ScramVerifier{Salt: []byte("nobody's"), Iterations: 4096}, nil
}

// teaVerifier is of the password "tea".
var teaVerifier = sync.OnceValue(func() mta.ScramVerifier { return verifierOf("tea", []byte("salt of tea")) })

func verifierOf(password string, salt []byte) mta.ScramVerifier {
	c, err := scram.SHA256.NewClientUnprepped("", password, "")
	if err != nil {
		panic(err)
	}
	k, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: 4096})
	if err != nil {
		panic(err)
	}
	v := mta.ScramVerifier{Salt: salt, Iterations: k.Iters}
	copy(v.StoredKey[:], k.StoredKey)
	copy(v.ServerKey[:], k.ServerKey)
	return v
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
			s, err := sasl.New(t.Context(), c.mechanism, users{}, nil)
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
	ours := errors.New("database is away")
	for _, c := range []struct {
		mechanism string
		responses []string
	}{
		{"PLAIN", []string{"\x00alice\x00tea"}}, {"LOGIN", []string{"alice", "tea"}}, {"SCRAM-SHA-256", []string{"n,,n=alice,r=abc"}},
	} {
		s, err := sasl.New(t.Context(), c.mechanism, users{err: ours}, nil)
		if err != nil {
			t.Fatal(err)
		}
		done := false
		for _, r := range c.responses {
			_, done, err = s.Next([]byte(r))
		}
		if done || !errors.Is(err, ours) || errors.Is(err, sasl.ErrCredentials) || s.Identity() != "" {
			t.Errorf("%s: got done %v, identity %q, error %v; want %v", c.mechanism, done, s.Identity(), err, ours)
		}
	}
}

func TestMechanismsAreOfferedWhereTheyWork(t *testing.T) {
	bind := sasl.Bindings{"tls-exporter": []byte("x")}
	for _, c := range []struct {
		users users
		bind  sasl.Bindings
		want  string
	}{
		{users{}, bind, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
		{users{}, nil, "SCRAM-SHA-256 PLAIN LOGIN"},
		{users{noScram: true}, bind, "PLAIN LOGIN"},
		{users{noPlus: true}, bind, "SCRAM-SHA-256 PLAIN LOGIN"},
	} {
		names := sasl.Mechanisms(c.users, c.bind)
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		for _, m := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"} {
			_, err := sasl.New(t.Context(), strings.ToLower(m), c.users, c.bind)
			if offered := slices.Contains(names, m); offered != (err == nil) || !offered && !errors.Is(err, sasl.ErrMechanism) {
				t.Errorf("%s, offered %q: got error %v", m, c.want, err)
			}
		}
	}
	for _, mechanism := range []string{"", "CRAM-MD5", "PLAIN ", "EXTERNAL", "SCRAM-SHA-1"} {
		if _, err := sasl.New(t.Context(), mechanism, users{}, bind); !errors.Is(err, sasl.ErrMechanism) {
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
		s, err := sasl.New(t.Context(), mechanism, users{}, nil)
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
