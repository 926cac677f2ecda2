package directory

import (
	"context"

	"github.com/posthouse-mail/posthouse/mta"
)

// Users is where the users are kept that [users] names: a File or a Database. It is safe for use by many goroutines.
type Users interface {
	// Lookup returns the user with an address; ErrUnknown if there is none. Any other error is temporary.
	Lookup(ctx context.Context, a mta.Address) (User, error)
	// Recheck has the next question look for changes, however short ago the last one did.
	Recheck()
	// Authenticate checks a password and returns the user's address; mta.ErrCredentials, or a fault.
	Authenticate(ctx context.Context, login, password string) (identity string, err error)
	// OffersScram says whether SCRAM-SHA-256 and SCRAM-SHA-256-PLUS are to be offered.
	OffersScram() (scram, plus bool)
	// Scram returns a user's address and verifier for SCRAM-SHA-256; File.Scram says what of others.
	Scram(ctx context.Context, login string) (identity string, v mta.ScramVerifier, err error)

	key(a mta.Address) mta.Address
	parseLogin(login string) (mta.Address, error)
	options() *Options
}

// Aliases are those of a Database.
type Aliases interface {
	Alias(ctx context.Context, a mta.Address) (targets []string, err error)
}

var (
	_ Users = (*File)(nil)
	_ Users = (*Database)(nil)
)
