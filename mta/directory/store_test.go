package directory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// verifying is a Store that checks passwords itself; all users have the same.
type verifying struct {
	rows  map[string]directory.Row
	asked []string // of whom a password was checked; "" is nobody
	err   error
}

func (v *verifying) User(_ context.Context, address string) (directory.Row, error) {
	return v.rows[address], v.err
}
func (v *verifying) Alias(context.Context, string) ([]string, error) { return nil, v.err }
func (v *verifying) List(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}
func (v *verifying) Verifies() bool { return true }
func (v *verifying) Verify(_ context.Context, r directory.Row, password string) error {
	v.asked = append(v.asked, r[".dn"])
	if password != "right" {
		return mta.ErrCredentials
	}
	return nil // of nobody too: Database must know better
}

func TestAStoreThatChecksPasswords(t *testing.T) {
	v := &verifying{rows: map[string]directory.Row{
		"alice@here.test": {".dn": "a", directory.OwnVersion: "1"}, "bob@here.test": {".dn": "b"}, "carol@here.test": {".dn": "c", "disabled": "yes", directory.OwnVersion: "1"},
	}}
	d := directory.OpenDatabase("test", v, directory.Options{Scram: directory.ScramAlways})
	for _, c := range []struct{ login, password, want, asked string }{
		{"nobody@here.test", "right", "", "[]"},
		{"carol@here.test", "right", "", "[]"},
		{"alice@here.test", "wrong", "", "[a]"},
		{"alice@here.test", "right", "alice@here.test", "[a]"},
		{"ALICE@here.test", "right", "alice@here.test", "none"}, // remembered
		{"alice@here.test", "wrong", "", "[a]"},
		{"bob@here.test", "right", "bob@here.test", "[b]"},
		{"bob@here.test", "right", "bob@here.test", "[b]"}, // nothing tells when he changes
	} {
		v.asked = nil
		id, err := d.Authenticate(context.Background(), c.login, c.password)
		asked := fmt.Sprint(v.asked)
		if v.asked == nil {
			asked = "none"
		}
		if id != c.want || (c.want == "") != errors.Is(err, mta.ErrCredentials) || asked != c.asked {
			t.Errorf("%s, %s: got %q, %v, asked of %s; want %q, asked of %s", c.login, c.password, id, err, asked, c.want, c.asked)
		}
	}
	v.rows["alice@here.test"][directory.OwnVersion] = "2"
	v.asked = nil
	if _, err := d.Authenticate(context.Background(), "alice@here.test", "right"); err != nil || len(v.asked) != 1 {
		t.Errorf("after a change: %v, asked of %v", err, v.asked)
	}
	if scram, plus := d.OffersScram(); scram || plus {
		t.Error("SCRAM is offered, for which nobody has a verifier")
	}
	if _, _, err := d.Scram(context.Background(), "alice@here.test"); !errors.Is(err, mta.ErrTransition) {
		t.Errorf("SCRAM without a verifier: %v", err)
	}
}

// rows is a Store that has verifiers.
type rows map[string]directory.Row

func (r rows) User(_ context.Context, address string) (directory.Row, error) { return r[address], nil }
func (r rows) Alias(context.Context, string) ([]string, error)               { return nil, nil }
func (r rows) List(context.Context, func(string)) error                      { return nil }

// Whoever it is that does not get in, one check of the same cost is made.
func TestRefusalsByADatabaseCostTheSame(t *testing.T) {
	const verifier = "{BCRYPT}$2b$05$abcdefghijklmnopqrstuuyuchgoY8tOcDZOZi0J5lmYMctbD7Gs2"
	d := directory.OpenDatabase("test", rows{
		"alice@here.test": {"password": verifier}, "bob@here.test": {"password": verifier, "disabled": "yes"}, "carol@here.test": {},
	}, directory.Options{})
	var checks []string
	d.CountChecks(func(cost string) { checks = append(checks, cost) })
	for _, login := range []string{"alice@here.test", "bob@here.test", "carol@here.test", "nobody@here.test", "ALICE@here.test", "alice@elsewhere.test"} {
		for _, password := range []string{"wrong", ""} {
			checks = nil
			if _, err := d.Authenticate(context.Background(), login, password); !errors.Is(err, mta.ErrCredentials) || fmt.Sprint(checks) != "[BCRYPT 05]" {
				t.Errorf("%s, %q: %v after checks that cost %q, want one of bcrypt", login, password, err, checks)
			}
		}
	}
}

// An answer with a fault is one: the database is there for all others.
func TestAFaultIsNotTheEndOfAllAnswers(t *testing.T) {
	v := &verifying{err: fmt.Errorf("%w: two of them", directory.ErrFault)}
	var log bytes.Buffer
	d := directory.OpenDatabase("test", v, directory.Options{Log: maillog.New(maillog.NewText(&log, slog.LevelInfo))})
	if _, err := d.Lookup(context.Background(), mta.Address{Local: "a", Domain: "here.test"}); !errors.Is(err, directory.ErrFault) || errors.Is(err, directory.ErrAway) || errors.Is(err, directory.ErrUnknown) || log.Len() > 0 {
		t.Errorf("got %v, logged %q", err, log.String())
	}
}

// Who never comes to the end of a list does not hold up what needs one for good.
func TestAListHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory.OpenDatabase("test", &verifying{}, directory.Options{})
		if _, err := d.List(context.Background()); !errors.Is(err, directory.ErrAway) {
			t.Errorf("got %v, want ErrAway", err)
		}
	})
}
