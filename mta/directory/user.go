package directory

import (
	"strings"

	"golang.org/x/net/idna"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrUnknown says that the users file has no such address.
var ErrUnknown = mta.ErrUnknownUser

// User is one line of the users file.
type User struct {
	Address mta.Address
	// Forward holds the addresses that get this user's mail instead of the mailbox; with the user's own address among
	// them, the mailbox too. Empty: the mailbox.
	Forward []mta.Address
	// SendAs holds what else the user may send as: addresses, or "@domain" for all of a domain; in lower-case domains.
	SendAs []string
	// Quota is what the mailbox may hold, in octets; 0 = anything; negative = as [mailboxes] quota says.
	Quota int64
	// System names the account of the machine whose mail this is; "" for a virtual mailbox.
	System string
	// Disabled users take mail and cannot log in.
	Disabled bool
	// Schemes names the verifiers, in the file's order; empty where they were dropped on reading.
	Schemes []string

	verifiers []verifier         // what a password is checked against
	elsewhere Row                // what a Verifier checks a password by; nil: there is none
	scram     *mta.ScramVerifier // nil: none
	line      int
}

func (u *User) canLogin() bool { return !u.Disabled && (len(u.verifiers) > 0 || u.elsewhere != nil) }

// MaySendAs says whether the user may use the sender: the own address, or one that SendAs allows.
func (u *User) MaySendAs(sender mta.Address) bool {
	if fold(sender) == fold(u.Address) {
		return true
	}
	for _, s := range u.SendAs {
		if d, ok := strings.CutPrefix(s, "@"); ok && aLabels(d) == aLabels(sender.Domain) {
			return true
		}
		if a, err := mta.ParseAddress(s); err == nil && fold(a) == fold(sender) {
			return true
		}
	}
	return false
}

// Same says whether two addresses are one user's.
func Same(a, b mta.Address) bool { return fold(a) == fold(b) }

// fold is the key under which an address is found: ASCII letters of the local part in lower case, the domain in A-labels.
func fold(a mta.Address) mta.Address {
	return mta.Address{Local: mta.LowerASCII(a.Local), Domain: aLabels(a.Domain)}
}

// aLabels is the form that a domain has in the DNS (RFC 5891 section 4.4), in which routing asks for it; one that has no
// such form is only itself.
func aLabels(domain string) string {
	if strings.IndexFunc(domain, func(r rune) bool { return r > 0x7f }) < 0 {
		return domain
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}
