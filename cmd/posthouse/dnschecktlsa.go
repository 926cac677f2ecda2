package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dane"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// errNoOwn says that there is no certificate to look at; the ordinary check tells why.
var errNoOwn = errors.New("no certificate")

// tlsa holds the records for port 25 against the certificate that smtpd shows.
func (k *dnsCheck) tlsa(ctx context.Context, l *findings) {
	host := k.cfg.Hostname
	list, path, err := k.r.TLSA(ctx, 25, host)
	subject := "_25._tcp." + host
	switch {
	case err != nil && !dns.Permanent(err):
		l.missing("tlsa", levelUnknown, subject, "", err)
		return
	case len(list) == 0 && !path.Secure:
		return // in a zone that is not signed there is nothing to publish
	}
	chain, err := ownCertificate(k.cfg)
	if err != nil {
		if len(list) > 0 {
			l.add("tlsa", levelFault, subject, "take the records out, or set tls.certificate", "there are records, and this host shows no certificate: %v", err)
		}
		return
	}
	fix := rr{name: subject, kind: "TLSA", value: "3 1 1 " + spkiSum(chain[0])}.line()
	if len(list) == 0 {
		l.add("tlsa", levelWarning, subject, fix, "no record, and the zone is signed: others could demand this certificate")
		return
	}
	records := dane.RecordsOf(host, list)
	if len(records.Usable) == 0 { // RFC 7672 3.1
		l.add("tlsa", levelWarning, subject, fix, "none of %s is of a kind that mail servers use: 3 1 1 or 2 1 1", count(len(list), "record"))
		return
	}
	err = records.Verify(tls.ConnectionState{PeerCertificates: chain}, []string{host}, time.Now())
	switch {
	case err != nil && k.r.TrustsAD() && !path.Secure:
		l.add("tlsa", levelWarning, subject, fix, "%v: once the zone is signed, those who obey them would send no mail here", err)
	case err != nil:
		l.add("tlsa", levelFault, subject, fix, "%v: those who obey them send no mail here", err)
	case !k.r.TrustsAD():
		l.add("tlsa", levelOK, subject, "", "is this host's certificate; whether it is signed (DNSSEC) a name server on this host would tell")
	case !path.Secure:
		l.add("tlsa", levelWarning, subject, "sign the zone of "+host+" (DNSSEC), and give the registrar its key",
			"is this host's certificate, and nobody obeys it: the answer is not signed (DNSSEC)")
	default:
		l.add("tlsa", levelOK, subject, "", "is this host's certificate")
	}
}

// ownCertificate is the one that smtpd shows to who asks for no other, and what stands behind it.
func ownCertificate(c *config.Config) ([]*x509.Certificate, error) {
	if c.TLS.Certificate == "" {
		return nil, errNoOwn
	}
	text, _, err := conffile.Read(c.TLS.Certificate, tlsconf.MaxPEM)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errNoOwn
	}
	return chain, nil
}
