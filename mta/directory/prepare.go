package directory

import (
	"golang.org/x/text/secure/precis"

	"github.com/xdg-go/stringprep"
)

// Two keyboards may write one password in two ways: with ä as one character or as two, with a blank that is not
// ASCII's. Names and passwords are brought to one form, when a verifier is made and when it is asked; what a form's rules do not
// take stays as it is.

// preparePassword is OpaqueString (RFC 8265 section 4.2), for passwords that come to us.
func preparePassword(password string) string {
	if p, err := precis.OpaqueString.String(password); err == nil {
		return p
	}
	return password
}

// prepareLogin is UsernameCasePreserved (RFC 8265 section 3.4).
func prepareLogin(login string) string {
	if p, err := precis.UsernameCasePreserved.String(login); err == nil {
		return p
	}
	return login
}

// saslPrep is SASLprep (RFC 4013), for passwords that the client works on itself: RFC 5802 section 2.2 asks it for this one
// and no other. Like a client it takes characters that are younger than Unicode 3.2 (RFC 3454 section 7).
func saslPrep(password string) string {
	profile := stringprep.SASLprep
	profile.Prohibits = profile.Prohibits[1:] // TableA1: what Unicode 3.2 had not assigned; a test holds that it stands there
	if p, err := profile.Prepare(password); err == nil && p != "" {
		return p
	}
	return password
}
