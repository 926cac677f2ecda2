package acme

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// Errors of Obtain, wrapped.
var (
	ErrUnreachable = errors.New("the authority cannot be reached")
	ErrRefused     = errors.New("the authority refuses")
)

// advice is what to do about what an authority refuses, by the problem's type (RFC 8555 6.7).
var advice = map[string]string{
	rfc8555.ProblemTypeConnection:              "let port 80 of each of its addresses lead from the Internet to acme.listen, or set acme.dns_hook",
	rfc8555.ProblemTypeDNS:                     "publish A or AAAA for the name, and wait until all name servers have it",
	rfc8555.ProblemTypeUnauthorized:            "another web server or an old record answers for the name; let it pass /.well-known/acme-challenge/ on, or remove the record",
	rfc8555.ProblemTypeCAA:                     "the domain's CAA record allows other authorities; add this one to it",
	rfc8555.ProblemTypeRateLimited:             "wait as long as it says; the timer tries again by itself",
	rfc8555.ProblemTypeRejectedIdentifier:      "the authority makes no certificates for this name",
	rfc8555.ProblemTypeInvalidContact:          "correct acme.email",
	rfc8555.ProblemTypeUnsupportedContact:      "correct acme.email",
	rfc8555.ProblemTypeExternalAccountRequired: "this authority wants an account that was made elsewhere, which is not supported; choose another acme.directory",
}

// explain says of an error what to do about it.
func explain(err error, t Target) error {
	var problem rfc8555.Problem
	var request *url.Error
	var op *net.OpError
	switch {
	case errors.As(err, &problem):
		text := problem.Detail
		if text == "" {
			text = problem.Title
		}
		for _, sub := range problem.Subproblems {
			text += "; " + sub.Identifier.Value + ": " + sub.Detail
		}
		short := strings.TrimPrefix(problem.Type, "urn:ietf:params:acme:error:")
		if what := advice[problem.Type]; what != "" {
			return fmt.Errorf("certificate for %s: %w (%s): %s. What to do: %s", t.Names[0], ErrRefused, short, text, what)
		}
		return fmt.Errorf("certificate for %s: %w (%s): %s", t.Names[0], ErrRefused, short, text)
	case errors.As(err, &request), errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("certificate for %s: %w: %w; see acme.directory, and whether this host reaches the web", t.Names[0], ErrUnreachable, err)
	}
	return fmt.Errorf("certificate for %s: %w", t.Names[0], err)
}
