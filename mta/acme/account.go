package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// account returns the account at the directory; where there is none yet it makes one, which means that the operator agrees to
// the authority's terms. The key is kept, so that the account is found again when all else is lost (RFC 8555 7.3.1).
func (s *session) account(ctx context.Context) (rfc8555.Account, error) {
	u, err := url.Parse(s.o.Directory)
	if err != nil {
		return rfc8555.Account{}, err
	}
	base := filepath.Join(s.o.State, "account-"+url.PathEscape(u.Host))
	key, err := loadKey(base+".pem", 0o600, asItComes)
	if err != nil {
		return rfc8555.Account{}, err
	}
	contact := []string{"mailto:" + s.o.Email}
	var known rfc8555.Account
	b, err := read(base + ".json")
	switch {
	case err == nil && json.Unmarshal(b, &known) == nil && known.Location != "":
		known.PrivateKey = key
		if slices.Equal(known.Contact, contact) {
			return known, nil
		}
		known.Contact = contact
		a, err := s.client.UpdateAccount(ctx, known)
		if err == nil {
			return s.keep(base, a, contact)
		}
		var problem rfc8555.Problem
		if !errors.As(err, &problem) || problem.Type != rfc8555.ProblemTypeAccountDoesNotExist {
			return a, fmt.Errorf("change the account's address: %w", err)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return known, err
	}
	return s.register(ctx, base, rfc8555.Account{Contact: contact, TermsOfServiceAgreed: true, PrivateKey: key})
}

func (s *session) register(ctx context.Context, base string, a rfc8555.Account) (rfc8555.Account, error) {
	contact := a.Contact
	a, err := s.client.NewAccount(ctx, a)
	if err != nil {
		return a, fmt.Errorf("make an account: %w", err)
	}
	return s.keep(base, a, contact)
}

func (s *session) keep(base string, a rfc8555.Account, contact []string) (rfc8555.Account, error) {
	if a.Status != rfc8555.StatusValid {
		return a, fmt.Errorf("the account %s is %s; remove %s.pem and %[3]s.json for a new one", a.Location, a.Status, base)
	}
	a.Contact = contact // authorities need not repeat it
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return a, err
	}
	return a, put(base+".json", append(b, '\n'), 0o600, asItComes)
}

// forget drops what is known of the account, so that the next question makes it anew with the same key.
func (s *session) forget() error {
	u, err := url.Parse(s.o.Directory)
	if err != nil {
		return err
	}
	return put(filepath.Join(s.o.State, "account-"+url.PathEscape(u.Host)+".json"), []byte("{}\n"), 0o600, asItComes)
}
