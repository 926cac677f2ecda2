package directory

import (
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// defaultDummy costs what NewVerifier's default costs; no password is known for it.
const defaultDummy = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$cG9zdGhvdXNlL25vYm9keQ$q6ddoSDg8HCuk2dMEOQxYv3Zc0iF4sUJc6sRkH2Z8nM"

// commonest returns the verifiers of a user whose check costs what most users' checks cost. A login that does not exist is
// checked against them and refused whatever comes out, so that the time tells nothing. Without any, the default scheme's cost.
func commonest(users map[mta.Address]*User) []verifier {
	type class struct {
		n     int
		first *User
	}
	classes := map[string]*class{}
	for _, u := range users {
		key := costOf(u.verifiers)
		if key == "" {
			continue
		}
		c := classes[key]
		if c == nil {
			c = &class{first: u}
			classes[key] = c
		}
		c.n++
	}
	var best *class
	bestKey := ""
	for key, c := range classes {
		if best == nil || c.n > best.n || c.n == best.n && key < bestKey {
			best, bestKey = c, key
		}
	}
	if best != nil {
		return best.first.verifiers
	}
	v, err := parseVerifier(defaultDummy)
	if err != nil { // a constant, held by a test
		return nil
	}
	return []verifier{v}
}

// costOf names the work of a wrong password; "" for none.
func costOf(vs []verifier) string {
	var costs []string
	for i := range vs {
		costs = append(costs, vs[i].cost)
	}
	return strings.Join(costs, "; ")
}
