package userdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/go-ldap/ldap/v3"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// pageSize is how many entries of a list come at a time: servers bound what they give at once.
const pageSize = 500

// dnKey is a Row's name for that of its entry, which Verify needs.
const dnKey = directory.OwnPrefix + "dn"

// directoryServer is users in an LDAP directory (RFC 4511).
type directoryServer struct {
	cfg               config.LDAP
	user, alias, list filter
	searches          *ldapPool
	logins            *ldapPool // for binds of users, which nobody searches by

	wrong atomic.Int64 // how long the last bind of a user with a wrong password took, nanoseconds
}

var _ directory.Verifier = (*directoryServer)(nil)

// openLDAP connects to nothing yet. The text is that of the url_file.
func openLDAP(text string, c config.LDAP) (*directoryServer, error) {
	a, err := parseAccess(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.URLFile, err)
	}
	s := &directoryServer{cfg: c, searches: newLDAPPool(a, c.StartTLS)}
	a.dn, a.password = "", ""
	s.logins = newLDAPPool(a, c.StartTLS)
	if s.user, err = parseFilter("users.ldap.user", c.User, true); err != nil {
		return nil, err
	}
	if s.alias, err = parseFilter("users.ldap.alias", c.Alias, true); err != nil {
		return nil, err
	}
	if s.list, err = parseFilter("users.ldap.list", c.List, false); err != nil {
		return nil, err
	}
	if _, err := ldap.ParseDN(c.Base); err != nil {
		return nil, fmt.Errorf("users.ldap.base: %w", err)
	}
	return s, nil
}

// User implements directory.Store.
func (s *directoryServer) User(ctx context.Context, address string) (directory.Row, error) {
	a, ok := askable(address)
	if !ok {
		return nil, directory.ErrNotAsked
	}
	columns := map[string]string{"address": s.cfg.Address, "password": s.cfg.Password, "quota": s.cfg.Quota, "forward": s.cfg.Forward,
		"send_as": s.cfg.SendAs, "disabled": s.cfg.Disabled}
	var attributes []string
	for _, name := range columns {
		if name != "" {
			attributes = append(attributes, name)
		}
	}
	if s.Verifies() {
		attributes = append(attributes, versions...)
	}
	found, err := s.search(ctx, s.user.about(a), attributes, 2)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		return nil, fmt.Errorf("%w: users.ldap.user finds %q and %q for %s; one is wanted", directory.ErrFault, found[0].DN, found[1].DN, a)
	}
	row := directory.Row{dnKey: found[0].DN}
	for column, name := range columns {
		if values := found[0].GetEqualFoldAttributeValues(name); name != "" && len(values) > 0 {
			row[column] = joined(column, values, a)
		}
	}
	if s.Verifies() {
		for _, name := range versions {
			row[directory.OwnVersion] += strings.Join(found[0].GetEqualFoldAttributeValues(name), " ")
		}
	}
	return row, nil
}

// versions are what servers change with an entry, or with its password: OpenLDAP, any (RFC 4512 section 3.4), Active Directory.
var versions = []string{"entryCSN", "modifyTimestamp", "pwdLastSet"}

// askable says whether there may be a user of that address: servers take several blanks for one, and those at an end for
// none, so that one entry would be many users.
func askable(address string) (mta.Address, bool) {
	a, ok := split(address)
	return a, ok && !strings.ContainsFunc(a.Local, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// split reads an address whose local part is as it is, without quotes.
func split(address string) (mta.Address, bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return mta.Address{}, false
	}
	return mta.Address{Local: address[:i], Domain: strings.ToLower(address[i+1:])}, true
}

// joined makes of an attribute's values what a line of the users file has.
func joined(column string, values []string, a mta.Address) string {
	switch column {
	case "address":
		for _, v := range values { // an entry may have many
			if b, ok := split(v); ok && directory.Same(a, b) {
				return v
			}
		}
		return values[0]
	case "forward", "send_as":
		return strings.Join(values, ",")
	case "password":
		for i, v := range values {
			values[i] = bareCrypt(v)
		}
	}
	return strings.Join(values, " ")
}

// bareCrypt takes the scheme away that servers put before what a form of crypt(3) or of Argon2 says by itself (RFC 2307
// section 5.3).
func bareCrypt(v string) string {
	for _, scheme := range []string{"{CRYPT}$", "{ARGON2}$"} {
		if len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) {
			return v[len(scheme)-1:]
		}
	}
	return v
}

// Alias implements directory.Store.
func (s *directoryServer) Alias(ctx context.Context, address string) ([]string, error) {
	a, ok := askable(address)
	if s.alias == "" || !ok {
		return nil, directory.ErrNotAsked
	}
	found, err := s.search(ctx, s.alias.about(a), []string{s.cfg.Target}, maxRows+1)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range found {
		if all = append(all, e.GetEqualFoldAttributeValues(s.cfg.Target)...); len(all) > maxRows {
			return nil, fmt.Errorf("%w: users.ldap.alias finds more than %d targets for %s", directory.ErrFault, maxRows, a)
		}
	}
	return all, nil
}

// List implements directory.Store.
func (s *directoryServer) List(ctx context.Context, each func(string)) error {
	if s.list == "" || s.cfg.Address == "" {
		return directory.ErrNotListed
	}
	paging := ldap.NewControlPaging(pageSize)
	return s.searches.do(ctx, func(c *ldapConn) error {
		n := 0
		for {
			c.raw.left.Store(maxAnswer)
			result, err := c.Search(s.request(string(s.list), []string{s.cfg.Address}, 0, paging))
			if err != nil {
				return err
			}
			for _, e := range result.Entries {
				for _, v := range e.GetEqualFoldAttributeValues(s.cfg.Address) {
					if n++; n > maxUsers {
						return fmt.Errorf("users.ldap.list finds more than %d addresses", maxUsers)
					}
					each(v)
				}
			}
			next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok || len(next.Cookie) == 0 {
				return nil
			}
			paging.SetCookie(next.Cookie)
		}
	})
}

func (s *directoryServer) request(filter string, attributes []string, limit int, controls ...ldap.Control) *ldap.SearchRequest {
	return ldap.NewSearchRequest(s.cfg.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, limit, int(queryTime/time.Second), false, filter, attributes, controls)
}

// search returns up to limit entries, and does not tell whether there are more.
func (s *directoryServer) search(ctx context.Context, filter string, attributes []string, limit int) (found []*ldap.Entry, err error) {
	err = s.searches.do(ctx, func(c *ldapConn) error {
		result, err := c.Search(s.request(filter, attributes, limit))
		if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
			if len(result.Entries) < limit {
				return fmt.Errorf("%w: more entries for %s than the server gives: %w", directory.ErrFault, filter, err)
			}
			err = nil
		}
		if err == nil {
			found = result.Entries
		}
		return err
	})
	if errors.Is(err, errLong) {
		err = fmt.Errorf("%w, for %s", err, filter)
	}
	return found, err
}

// Verifies implements directory.Verifier.
func (s *directoryServer) Verifies() bool { return s.cfg.Password == "" }

// Verify implements directory.Verifier: a password is right that the server lets the user bind with.
func (s *directoryServer) Verify(ctx context.Context, row directory.Row, password string) error {
	dn, begin := row[dnKey], time.Now()
	if password == "" || row != nil && dn == "" {
		return fmt.Errorf("%w: %w", directory.ErrNotAsked, mta.ErrCredentials) // servers let anybody do that, as nobody (RFC 4513 section 5.1.2)
	}
	if row == nil {
		dn = "cn=posthouse-nobody," + s.cfg.Base
	}
	var said error // of the password, and not of the connection
	err := s.logins.do(ctx, func(c *ldapConn) error {
		said = c.Bind(dn, password)
		return said
	})
	switch {
	case err == nil && row != nil:
		return nil
	case err != nil && !wrongPassword(said):
		return err
	case row != nil:
		s.wrong.Store(int64(time.Since(begin)))
		return mta.ErrCredentials
	}
	// A server is sooner ready with who is nobody.
	rest := time.NewTimer(time.Duration(s.wrong.Load()) - time.Since(begin))
	defer rest.Stop()
	select {
	case <-rest.C:
		return mta.ErrCredentials
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wrongPassword says whether the server does not let a user in, and not that it cannot tell: also one whose account is locked
// or has no password, or that a rule forbids to log in.
func wrongPassword(err error) bool {
	var e *ldap.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.ResultCode {
	case ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInsufficientAccessRights,
		ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation, ldap.LDAPResultNoSuchObject:
		return true
	}
	return false
}
