package directory

// CountChecks makes a File or a Database call count before each password check.
func (p *passwords) CountChecks(count func(scheme string)) {
	match := p.match
	p.match = func(v verifier, password string) bool {
		count(v.cost)
		return match(v, password)
	}
}

// Cached returns how many successes are remembered.
func (f *File) Cached() int {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	return len(f.cache.good)
}

// ParseLine, ParseVerifier and the rest are what the tests of reading look at.
var (
	ParseLine    = parseLine
	DefaultDummy = defaultDummy
)

// ParseVerifier returns a verifier's cost.
func ParseVerifier(field string) (cost string, err error) {
	v, err := parseVerifier(field)
	return v.cost, err
}

// Matches says whether a verifier takes a password.
func Matches(field, password string) (bool, error) {
	v, err := parseVerifier(field)
	return err == nil && v.match(password), err
}

// SASLPrep is saslPrep.
func SASLPrep(password string) string { return saslPrep(password) }
