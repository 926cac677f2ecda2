package mtasts

import "context"

// Published is what a domain publishes, whatever is kept of it.
type Published struct {
	Records []string // of _mta-sts.DOMAIN, those that say they are of MTA-STS
	ID      string   // "" where there is not one record, with an id that is none (RFC 8461 3.1)
	Policy  *Policy  // nil: none was fetched
}

// Look asks for the record of a domain, and for the policy where that announces one. Of the options it needs Resolver, TLS and Dial.
// The error is of package dns where the record cannot be had, and ErrFetch or ErrInvalid where the policy cannot.
func Look(ctx context.Context, o Options, domain string) (p Published, err error) {
	texts, err := o.Resolver.TXT(ctx, "_mta-sts."+domain)
	if err != nil {
		return p, err
	}
	for _, t := range texts {
		if isRecord(t) {
			p.Records = append(p.Records, t)
		}
	}
	id, announced := parseRecord(texts)
	if !announced {
		return p, nil
	}
	p.ID = id
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	c := Cache{opt: o, http: newClient(o)}
	text, err := c.fetch(ctx, domain)
	if err != nil {
		return p, err
	}
	p.Policy, err = ParsePolicy(text)
	return p, err
}
