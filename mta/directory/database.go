package directory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Store is a place of users other than a file. An address is LOCAL@DOMAIN without any quotes, its domain in A-labels, letters of
// ASCII in lower case. An error says that nobody can tell for the moment. It is safe for use by many goroutines.
type Store interface {
	// User returns what is known of a user; nil, nil where there is none.
	User(ctx context.Context, address string) (Row, error)
	// Alias returns the targets of an alias, each as in an aliases file; none where there is no such alias.
	Alias(ctx context.Context, address string) ([]string, error)
	// List calls with each user's address. ErrNotListed: the configuration does not say how.
	List(ctx context.Context, each func(address string)) error
}

// Verifier is a Store that may check passwords itself, as a server does that shows nobody its verifiers.
type Verifier interface {
	Store
	// Verifies says whether it does.
	Verifies() bool
	// Verify says whether a password is that of a user whose row User has returned: nil, mta.ErrCredentials, or that nobody can
	// tell for the moment. A nil row is nobody, of whom it takes as long to say so.
	Verify(ctx context.Context, r Row, password string) error
}

// ErrFault is in the error of a Store that has been asked and has an answer, but one with a fault: somebody else's may have none.
var ErrFault = errors.New("fault in the answer")

// ErrNotAsked is in the error of a Store that has not been asked, as there can be no such user or alias, and no such password:
// it says nothing of whether there are answers.
var ErrNotAsked = errors.New("not asked")

// ErrNotListed says that a Store has no list of all its users.
var ErrNotListed = errors.New("no query for a list of all users")

// ErrAway says that the place of the users cannot be asked for the moment.
var ErrAway = errors.New("users cannot be looked up now")

// queryTime bounds a question to a Store, the wait for its turn included: smtpd's clients wait for the answer.
const queryTime = 5 * time.Second

// listTime bounds a list: a server that has stopped in the middle of one must not hold up what goes through it for good.
const listTime = 5 * time.Minute

// Database is users in a Store. Each question is asked anew, so that a change is seen at once.
type Database struct {
	passwords
	*place
}

// place is what all Databases of one Store share.
type place struct {
	name  string // for the log and for errors
	store Store
	judge Verifier // nil: the rows have the verifiers

	// Whom a question about somebody found last: nobody's passwords are checked at the same cost.
	last   atomic.Pointer[User]
	health health
	life   context.Context // of its probes
	end    context.CancelFunc
}

// OpenDatabase asks nothing yet; its Close is due at the end. The name is for the log and for errors, as "postgres" is.
func OpenDatabase(name string, s Store, opt Options) *Database {
	p := &place{name: name, store: s}
	p.life, p.end = context.WithCancel(context.Background())
	if v, ok := s.(Verifier); ok && v.Verifies() {
		p.judge = v
	}
	return &Database{newPasswords(opt), p}
}

// With returns a Database of the same Store with other options. What is known of the Store counts for both, and so do the
// passwords that were right.
func (d *Database) With(opt Options) *Database {
	p := newPasswords(opt)
	p.cache = d.cache
	return &Database{p, d.place}
}

// Lookup returns the user with an address; ErrUnknown if there is none. Any other error is temporary: ErrAway, or a row that
// has a fault.
func (d *Database) Lookup(ctx context.Context, a mta.Address) (User, error) {
	u, err := d.find(ctx, a)
	switch {
	case err != nil:
		return User{}, err
	case u == nil:
		return User{}, ErrUnknown
	}
	return *u, nil
}

// Recheck does nothing: each question is asked anew.
func (d *Database) Recheck() {}

// find is Lookup with nil for nobody.
func (d *Database) find(ctx context.Context, a mta.Address) (*User, error) {
	key := d.key(a)
	row, err := ask(ctx, d, func(ctx context.Context) (Row, error) { return d.store.User(ctx, key.Local+"@"+key.Domain) })
	if err != nil || row == nil {
		return nil, err
	}
	u, err := row.user(key, d.opt.DropVerifiers)
	if err != nil {
		return nil, fmt.Errorf("%s: user %s: %w", d.name, key, err)
	}
	if d.judge != nil && !d.opt.DropVerifiers {
		u.elsewhere = row
	}
	if len(u.verifiers) > 0 && !u.Disabled {
		d.last.Store(u)
	}
	return u, nil
}

// Alias returns the targets of an alias of the database, each as in an aliases file; none where there is no such alias. An
// error is temporary.
func (d *Database) Alias(ctx context.Context, a mta.Address) ([]string, error) {
	key := d.key(a)
	return ask(ctx, d, func(ctx context.Context) ([]string, error) { return d.store.Alias(ctx, key.Local+"@"+key.Domain) })
}

// List returns the addresses of all users; ErrNotListed where the configuration does not say how.
func (d *Database) List(ctx context.Context) (all []mta.Address, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	err = d.store.List(ctx, func(address string) {
		if a, err := unquoted(address); err == nil {
			all = append(all, a)
		}
	})
	if err != nil && !errors.Is(err, ErrNotListed) {
		err = fmt.Errorf("%s: %w: %w", d.name, ErrAway, err)
	}
	return all, err
}

// ask bounds a question, asks none where nobody has had an answer for a while, and tells the log when answers stop and when they
// come again. What the Store need not be asked about has the zero answer.
func ask[T any](ctx context.Context, d *Database, question func(context.Context) (T, error)) (answer T, err error) {
	if err := d.health.ask(); err != nil {
		return answer, fmt.Errorf("%s: %w: %w", d.name, ErrAway, err)
	}
	bound, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	answer, err = question(bound)
	switch {
	case errors.Is(err, ErrNotAsked):
		return answer, nil
	case err != nil && ctx.Err() != nil: // who asked is gone: it says nothing of the database
		return answer, ctx.Err()
	case errors.Is(err, ErrFault):
		d.heard(nil)
		return answer, fmt.Errorf("%s: %w", d.name, err)
	}
	d.heard(err)
	if err != nil {
		err = fmt.Errorf("%s: %w: %w", d.name, ErrAway, err)
	}
	return answer, err
}

// Authenticate is File.Authenticate.
func (d *Database) Authenticate(ctx context.Context, login, password string) (identity string, err error) {
	if d.opt.DropVerifiers {
		return "", errDropped
	}
	if !d.possible(login, password) {
		return "", mta.ErrCredentials
	}
	user, _, err := d.findLogin(ctx, login)
	if err != nil {
		return "", err
	}
	if d.judge != nil {
		return d.verify(ctx, user, password)
	}
	against := d.dummy()
	if user != nil && len(user.verifiers) > 0 {
		against = user.verifiers
	}
	return d.authenticate(ctx, user, against, password)
}

// verify has the Store check a password. A success is remembered as File.Authenticate's are.
func (d *Database) verify(ctx context.Context, user *User, password string) (identity string, err error) {
	may := user != nil && user.canLogin()
	var row Row
	var key cacheKey
	if may {
		identity, row = user.Address.String(), user.elsewhere
		if key = d.cache.key(identity, row.version(), password); d.cache.has(key) {
			return identity, nil
		}
	}
	refused, err := ask(ctx, d, func(ctx context.Context) (bool, error) {
		err := d.judge.Verify(ctx, row, password)
		refused := errors.Is(err, mta.ErrCredentials)
		if refused && !errors.Is(err, ErrNotAsked) {
			err = nil
		}
		return refused, err
	})
	switch {
	case err != nil:
		return "", err
	case refused || !may:
		return "", mta.ErrCredentials
	}
	if row[OwnVersion] != "" {
		d.cache.add(key)
	}
	return identity, nil
}

// findLogin is File.findLogin. Nobody costs as many questions as somebody whose login was written otherwise.
func (d *Database) findLogin(ctx context.Context, login string) (*User, string, error) {
	for _, a := range d.loginForms(login) {
		u, err := d.find(ctx, a)
		if err != nil {
			return nil, "", err
		}
		if u != nil {
			return u, d.key(u.Address).String(), nil
		}
	}
	return nil, d.loginName(login), nil
}

// dummy is what a check of nobody's password works on.
func (d *Database) dummy() []verifier {
	if u := d.last.Load(); u != nil {
		return u.verifiers
	}
	return commonest(nil)
}

// OffersScram is File.OffersScram. Whether each user has a verifier for SCRAM nobody can tell without a look at all of them:
// ScramAuto offers none. Where the Store checks passwords itself nobody has one.
func (d *Database) OffersScram() (scram, plus bool) {
	if d.opt.DropVerifiers || d.judge != nil || d.opt.Scram != ScramAlways {
		return false, false
	}
	return true, !d.opt.NoScramPlus
}

// Scram is File.Scram, but that the salts of nobody are another's after a restart.
func (d *Database) Scram(ctx context.Context, login string) (identity string, v mta.ScramVerifier, err error) {
	if d.opt.DropVerifiers {
		return "", v, errDropped
	}
	user, name, err := d.findLogin(ctx, login)
	if err != nil {
		return "", v, err
	}
	form := scramForm{with: 1, rounds: scramRounds, salt: scramSalt}
	if u := d.last.Load(); u != nil && u.scram != nil {
		form.rounds, form.salt = u.scram.Iterations, len(u.scram.Salt)
	}
	nobody, _, err := form.nobody(d.cache.secret[:], name)
	switch {
	case err != nil:
		return "", v, fmt.Errorf("salt: %w", err)
	case user != nil && user.canLogin() && user.scram != nil:
		return user.Address.String(), *user.scram, nil
	case user != nil && user.canLogin():
		return "", v, mta.ErrTransition
	}
	return "", nobody, nil
}
