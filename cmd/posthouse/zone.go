package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// rr is a record that DNS should have. Values of TXT records stand as they are, without quotes.
type rr struct {
	name, kind, value string
	later             string // why it is to wait; the line is a comment then
}

// line is the record in a zone file (RFC 1035 5.1).
func (r rr) line() string {
	value := r.value
	if r.kind == "TXT" {
		value = strings.Join(txtStrings(value), " ")
	}
	return fmt.Sprintf("%s. IN %s %s", r.name, r.kind, value)
}

// zone is what DNS should say of a domain and its host.
type zone struct {
	domain, host string
	records      []rr
	policy       string // of MTA-STS (RFC 8461 3.2)
}

// newZone makes the zone of a domain; addrs are the host's. With an error about files it has all else.
func newZone(c *config.Config, domain string, addrs []netip.Addr) (*zone, error) {
	z := &zone{domain: domain, host: c.Hostname, policy: policyText(c.Hostname)}
	var errs []error
	add := func(name, kind, value string) {
		z.records = append(z.records, rr{name: name, kind: kind, value: value})
	}
	for _, a := range addrs {
		z.records = append(z.records, addressRR(z.host, a))
	}
	add(domain, "MX", "10 "+z.host+".")
	add(domain, "TXT", "v=spf1 mx -all")
	if z.host != domain {
		add(z.host, "TXT", "v=spf1 a -all") // for reports of failure, which have no sender: HELO is checked (RFC 7208 2.3)
	}
	d := c.Domain(domain)
	if d == nil {
		return nil, fmt.Errorf("the configuration has no domain %s", domain)
	}
	for _, selector := range d.DKIM {
		key, err := sign.Load(d.Name, selector, layout.KeyFile(c, d.Name, selector))
		record := ""
		if err == nil {
			record, err = key.Record()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		add(key.Name(), "TXT", record)
	}
	add("_dmarc."+domain, "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@"+domain)
	add("_smtp._tls."+domain, "TXT", "v=TLSRPTv1; rua=mailto:postmaster@"+domain)
	z.records = append(z.records, rr{"_mta-sts." + domain, "TXT", z.stsRecord(), "once https://mta-sts." + domain + "/.well-known/mta-sts.txt has the policy below"})
	if c.TLS.Certificate != "" {
		value, err := tlsaRecord(c.TLS.Certificate)
		if err != nil {
			errs = append(errs, err)
		} else {
			z.records = append(z.records, rr{"_25._tcp." + z.host, "TLSA", value, "in a zone that is signed (DNSSEC), and made anew with each new key"})
		}
	}
	z.services(c)
	z.elsewhere()
	return z, errors.Join(errs...)
}

// services tells mail programs where to go (RFC 6186, RFC 8314 5.1).
func (z *zone) services(c *config.Config) {
	add := func(service, value string) {
		z.records = append(z.records, rr{name: "_" + service + "._tcp." + z.domain, kind: "SRV", value: value})
	}
	at := func(address string) (port string, ok bool) {
		_, where, err := config.SplitListen(address)
		if err != nil {
			return "", false
		}
		_, port, err = net.SplitHostPort(where)
		return port, err == nil
	}
	for _, l := range c.SMTPD.Listen {
		if port, ok := at(l.Address); ok && l.Role == "submission" {
			add(map[bool]string{true: "submissions", false: "submission"}[l.TLS == "implicit"], "0 1 "+port+" "+z.host+".")
		}
	}
	for _, l := range c.POP3D.Listen {
		if port, ok := at(l.Address); ok {
			add(map[bool]string{true: "pop3s", false: "pop3"}[l.TLS == "implicit"], "0 1 "+port+" "+z.host+".")
		}
	}
	add("imap", "0 0 0 .")
	add("imaps", "0 0 0 .")
}

// String is the snippet for a zone file.
func (z *zone) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "; %s\n", z.domain)
	hasAddress := false
	for _, r := range z.records {
		hasAddress = hasAddress || r.kind == "A" || r.kind == "AAAA"
	}
	if !hasAddress {
		fmt.Fprintf(&b, "; %s. IN A ... ; this host's public address, which none of its interfaces has\n", z.host)
	}
	for _, r := range z.records {
		if r.later != "" {
			fmt.Fprintf(&b, "; %s:\n; ", r.later)
		}
		b.WriteString(r.line() + "\n")
	}
	fmt.Fprintf(&b, "; The policy of MTA-STS, a file on a web server:\n")
	for line := range strings.Lines(z.policy) {
		b.WriteString(";   " + line)
	}
	return b.String()
}

// elsewhere puts aside what is about a host of another domain: a zone file takes no names from outside of the zone.
func (z *zone) elsewhere() {
	for i, r := range z.records {
		if r.later == "" && r.name != z.domain && !strings.HasSuffix(r.name, "."+z.domain) {
			z.records[i].later = "in the zone of " + z.host
		} else if r.later != "" && !strings.HasSuffix(r.name, "."+z.domain) {
			z.records[i].later = r.later + ", the one of " + z.host
		}
	}
}

// find returns the values of the records of a name and type.
func (z *zone) find(name, kind string) []string {
	var list []string
	for _, r := range z.records {
		if r.name == name && r.kind == kind {
			list = append(list, r.value)
		}
	}
	return list
}

// policyText begins in mode testing: reports show what enforce would refuse.
func policyText(host string) string {
	return "version: STSv1\nmode: testing\nmx: " + host + "\nmax_age: 604800\n"
}

// stsRecord has an id that changes with the policy.
func (z *zone) stsRecord() string {
	return "v=STSv1; id=" + stsID(z.policy)
}

// tlsaRecord is the data of a TLSA record: DANE-EE, the public key, SHA-256 (RFC 7672 3.1.1).
func tlsaRecord(certFile string) (string, error) {
	text, _, err := conffile.Read(certFile, tlsconf.MaxPEM)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("%s: no certificate in it", certFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", certFile, err)
	}
	return "3 1 1 " + spkiSum(cert), nil
}

func spkiSum(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// publicAddresses are those of this machine's interfaces that others can reach.
func publicAddresses() []netip.Addr {
	return slices.DeleteFunc(interfaceAddresses(), func(a netip.Addr) bool { return !reachableByAll(a) })
}

func interfaceAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().Unmap())
		}
	}
	return list
}
