package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dane"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// codeRequireTLS is the enhanced code of a message that may not go where TLS cannot be vouched for (RFC 8689 5).
const codeRequireTLS = "5.7.30"

// Policies knows what domains say about TLS with their exchangers; *mtasts.Cache is one. Nil without an error: nothing. With
// an error the Policy is what is in force all the same.
type Policies interface {
	Get(ctx context.Context, domain string) (*mtasts.Policy, error)
}

// Watcher is told what became of TLS; *tlsrpt.Recorder is one.
type Watcher interface {
	Session(tlsrpt.Session)
}

// policy is what a connection to one host must be before the message goes over it: the strictest of what the
// configuration, DANE, MTA-STS and the message ask for. All that they ask must hold.
type policy struct {
	level    mta.TLSLevel
	records  *dane.Records  // nil: DANE does not apply
	names    []string       // reference identifiers for records
	sts      *mtasts.Policy // in force or tested; nil: none
	why      string         // who asks for authentication: dane, mta-sts or verify; "" = nobody
	dane     string         // what DANE says of the host, for operators
	key      string         // equal for policies that ask the same of a handshake
	reported []tlsrpt.Policy
	failed   []tlsrpt.Result // what has failed before any connection
}

// plain is the policy of the second connection to a server whose TLS does not work and is not asked for.
func (p *policy) plain() *policy { return &policy{level: mta.TLSNone, key: string(mta.TLSNone)} }

// verdict is a policy, or why a host must not be used.
type verdict struct {
	pol *policy
	bad *mta.Outcome
}

// policy returns what applies to a host, and always the same in one delivery.
func (d *delivery) policy(ctx context.Context, host string) (*policy, *mta.Outcome) {
	if v, ok := d.policies[host]; ok {
		return v.pol, v.bad
	}
	if d.policies == nil {
		d.policies = map[string]verdict{}
	}
	pol := &policy{level: d.level()}
	bad := d.applyPolicies(ctx, host, pol)
	if bad == nil {
		pol.key = pol.makeKey()
	} else if len(pol.failed) > 0 {
		d.report(host, pol.failed, tlsrpt.Clear, false)
	}
	d.policies[host] = verdict{pol, bad}
	return pol, bad
}

func (d *delivery) applyPolicies(ctx context.Context, host string, pol *policy) *mta.Outcome {
	x := d.r.Dest
	_, notName := netip.ParseAddr(host)
	// A store of our own, a route that wants no TLS, and a sender who can do without (RFC 8689 4.2.2) are bound by nothing.
	free := !d.relays() || x.TLS == mta.TLSNone || d.waivesTLS()
	secure := x.Named() // the name of the host is the configuration's, or DNSSEC vouches for it
	if notName != nil && !free {
		var bad *mta.Outcome
		if secure, bad = d.applyDANE(ctx, host, pol); bad != nil {
			return bad
		}
	}
	// An exchanger that is named by its address is no reason not to ask the domain: whoever forges an MX record could do that.
	if _, isLiteral := literal(x.Domain); !isLiteral && !x.Named() && !free {
		if bad := d.applySTS(ctx, host, pol); bad != nil {
			return bad
		}
		if len(pol.reported) == 0 && len(pol.failed) == 0 {
			pol.reported = []tlsrpt.Policy{{Type: tlsrpt.PolicyNone, Domain: x.Domain}}
		}
	}
	if d.r.RequireTLS && d.relays() && pol.why == "" {
		if !secure {
			return ptr(d.failed(550, codeRequireTLS, "nobody vouches for "+host+" as a mail server of "+x.Domain+", and the sender requires TLS all the way", nil))
		}
		pol.level = mta.TLSVerify
	}
	if pol.level == mta.TLSVerify && pol.why == "" {
		pol.why = "verify"
	}
	return nil
}

// applyDANE looks for TLSA records where the name of the host is known for certain (RFC 7672 2.2): without that, whoever
// can forge the MX record leads us to a host with records of his own. It returns whether it is.
func (d *delivery) applyDANE(ctx context.Context, host string, pol *policy) (secure bool, bad *mta.Outcome) {
	nextHop, path := host, dns.Path{End: host}
	if !d.opt.DANE {
		pol.dane = "switched off by outbound.dane"
	}
	if !d.opt.DANE && !d.r.RequireTLS {
		return false, nil
	}
	if !d.r.Dest.Named() {
		var err error
		nextHop = d.r.Dest.Domain
		path, err = d.opt.Resolver.MXPath(ctx, nextHop)
		if err != nil && !errors.Is(err, dns.ErrNoData) { // with ErrNoData the domain is its own host
			return false, ptr(d.deferred(451, "4.4.3", "mail servers of "+nextHop+" cannot be looked up", err))
		}
		if err == nil && !path.Secure {
			pol.dane = "no DNSSEC for the MX records of " + nextHop
			return false, nil
		}
		secure = path.Secure
	} else {
		secure = true
	}
	if !d.opt.DANE {
		return secure, nil
	}
	name, err := dns.ASCII(host)
	if err != nil {
		return secure, nil
	}
	records, err := dane.Find(ctx, d.opt.Resolver, name, d.port())
	if err != nil {
		pol.failed = append(pol.failed, tlsrpt.Result{Policy: tlsrpt.Policy{Type: tlsrpt.PolicyTLSA, Domain: name},
			Failure: &tlsrpt.Failure{Type: tlsrpt.DNSSECFailed, Host: host}})
		return secure, ptr(d.deferred(451, "4.7.5", "whether DANE protects mail server "+host+" cannot be looked up", err))
	}
	if records == nil {
		pol.dane = "no TLSA records that DNSSEC vouches for"
		return secure, nil
	}
	pol.records = records
	for _, n := range []string{records.Base, nextHop, path.End} {
		if !slices.Contains(pol.names, n) {
			pol.names = append(pol.names, n)
		}
	}
	if pol.level != mta.TLSVerify {
		pol.level = mta.TLSEncrypt
	}
	p := tlsrpt.Policy{Type: tlsrpt.PolicyTLSA, Domain: records.Base, MX: []string{host}, Lines: lines(records)}
	pol.dane = "TLSA records of " + records.Base
	if len(records.Usable) == 0 {
		pol.dane += ", of which none can be used: TLS with any certificate"
		pol.failed = append(pol.failed, tlsrpt.Result{Policy: p, Failure: &tlsrpt.Failure{Type: tlsrpt.TLSAInvalid, Host: host}})
		return secure, nil
	}
	pol.why = "dane"
	pol.reported = append(pol.reported, p)
	return secure, nil
}

// relays says that the message goes on to another mail server, not into a store that the configuration names: what the
// receivers' domain or the sender asks of the way is then fulfilled.
func (d *delivery) relays() bool { return d.r.Dest.Path == "" && !d.r.Dest.LMTP }

// maxLines bounds the TLSA records that a report quotes.
const maxLines = 16

func lines(r *dane.Records) (list []string) {
	for _, t := range r.All[:min(len(r.All), maxLines)] {
		list = append(list, fmt.Sprintf("%d %d %d %s", t.Usage, t.Selector, t.Matching, hex.EncodeToString(t.Data[:min(len(t.Data), 64)])))
	}
	return list
}

// applySTS holds a host against the MTA-STS policy of the recipients' domain (RFC 8461 4, 5). A policy does not stand in for
// DANE (RFC 8461 2): where there are both, both must hold.
func (d *delivery) applySTS(ctx context.Context, host string, pol *policy) *mta.Outcome {
	if d.opt.STS == nil {
		return nil
	}
	p, err := d.stsPolicy(ctx)
	if err != nil && p == nil {
		pol.failed = append(pol.failed, tlsrpt.Result{Policy: tlsrpt.Policy{Type: tlsrpt.PolicySTS, Domain: d.r.Dest.Domain}, Failure: &tlsrpt.Failure{Type: stsFailure(err)}})
	}
	if p == nil {
		return nil
	}
	r := tlsrpt.Policy{Type: tlsrpt.PolicySTS, Domain: d.r.Dest.Domain, MX: p.MX, Lines: p.Lines}
	if !p.Allows(host) {
		pol.failed = append(pol.failed, tlsrpt.Result{Policy: r, Failure: &tlsrpt.Failure{Type: tlsrpt.Invalid, Host: host, Reason: "mx-not-in-policy"}})
		if p.Mode == mtasts.Enforce {
			return ptr(d.deferred(451, "4.7.5", "mail server "+host+" is not one that the MTA-STS policy of "+d.r.Dest.Domain+" allows", nil))
		}
		return nil
	}
	pol.sts = p
	pol.reported = append(pol.reported, r)
	if p.Mode == mtasts.Enforce {
		pol.level = mta.TLSVerify
		if pol.why == "" {
			pol.why = "mta-sts"
		}
	}
	return nil
}

func (d *delivery) stsPolicy(ctx context.Context) (*mtasts.Policy, error) {
	if !d.stsAsked {
		d.sts, d.stsErr = d.opt.STS.Get(ctx, d.r.Dest.Domain)
		d.stsAsked = true
	}
	return d.sts, d.stsErr
}

// makeKey spells out all that a handshake depends on beside the host and the port.
func (p *policy) makeKey() string {
	if p.records == nil {
		return string(p.level)
	}
	h := sha256.New()
	for _, r := range p.records.Usable {
		fmt.Fprintf(h, "%d %d %d %x\n", r.Usage, r.Selector, r.Matching, r.Data)
	}
	fmt.Fprintf(h, "%q %q", p.records.Base, p.names)
	return string(p.level) + " dane:" + hex.EncodeToString(h.Sum(nil))
}
