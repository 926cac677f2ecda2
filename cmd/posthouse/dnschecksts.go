package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
)

// leastAge is how long a policy should hold at the least: who keeps senders from the policy needs no more patience than that.
const leastAge = 24 * time.Hour

// sts checks that the policy can be had, that it names this host, and that this host can keep what it promises. It looks at what is
// published now, and not at what queue-runner has kept of it.
func (k *dnsCheck) sts(ctx context.Context, z *zone, l *findings) {
	name := "_mta-sts." + z.domain
	line := rr{name: name, kind: "TXT", value: z.stsRecord()}.line()
	file := "https://mta-sts." + z.domain + "/.well-known/mta-sts.txt: posthouse setup " + z.domain + " prints what it should say"
	p, err := mtasts.Look(ctx, mtasts.Options{Resolver: k.r, TLS: k.client, Dial: k.dial}, z.domain)
	add := func(level, fix, format string, args ...any) { l.add("mta-sts", level, z.domain, fix, format, args...) }
	switch {
	case p.ID != "" && err != nil:
		add(levelFault, file, "%v", err)
	case err != nil && !dns.Permanent(err):
		l.missing("mta-sts", levelUnknown, z.domain, line, err)
	case err != nil || len(p.Records) == 0:
		add(levelWarning, line+", and a policy: posthouse setup "+z.domain+" prints it", "no record: others take any certificate from whoever answers for this host")
	case len(p.Records) > 1:
		add(levelFault, line, "%d records, which count as none: leave one", len(p.Records))
	case p.ID == "":
		add(levelFault, line, "%q has no id that others take: 1 to 32 letters and digits", p.Records[0])
	case p.Policy.Mode == mtasts.None:
		add(levelWarning, file, "the policy's mode is none: others take any certificate from whoever answers for this host")
	case !p.Policy.Allows(z.host):
		add(levelFault, file, "the policy allows %s, and not this host: those who obey it send no mail here", strings.Join(p.Policy.MX, ", "))
	case p.Policy.MaxAge == 0:
		add(levelFault, file, "the policy has run out: its max_age is 0")
	case stale(z, p):
		add(levelWarning, rr{name: name, kind: "TXT", value: "v=STSv1; id=" + stsID(strings.Join(p.Policy.Lines, "\n"))}.line(),
			"the id is that of the policy that setup prints, and the policy is another: who knows that id goes on with the old one")
	case p.Policy.MaxAge < leastAge:
		add(levelWarning, file, "max_age is %v: a week or more protects those who write seldom", p.Policy.MaxAge)
	default:
		k.keepsPromise(p.Policy, z, l)
	}
}

// stale says that the id was not changed with the policy, as far as that can be seen: it is the one that setup has made for another.
func stale(z *zone, p mtasts.Published) bool {
	return "v=STSv1; id="+p.ID == z.stsRecord() && strings.Join(p.Policy.Lines, "\n") != strings.TrimSpace(z.policy)
}

func stsID(policy string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(policy) + "\n"))
	return hex.EncodeToString(sum[:8])
}

// keepsPromise looks whether others can verify this host's certificate, which a policy makes them do (RFC 8461 4.2).
func (k *dnsCheck) keepsPromise(p *mtasts.Policy, z *zone, l *findings) {
	chain, err := ownCertificate(k.cfg)
	if err == nil {
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err = chain[0].Verify(x509.VerifyOptions{DNSName: z.host, Roots: k.client.RootCAs, Intermediates: between})
	}
	if err == nil {
		l.add("mta-sts", levelOK, z.domain, "", "mode %s", p.Mode)
		return
	}
	level, what := levelFault, "those who obey the policy send no mail here"
	if p.Mode == mtasts.Testing {
		level, what = levelWarning, "with mode enforce nobody would send mail here who obeys it"
	}
	l.add("mta-sts", level, z.domain, "posthouse setup "+z.domain+" --acme, or --certificate and --key", "this host's certificate: %v: %s", err, what)
}
