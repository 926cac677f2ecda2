package remote

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dane"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// errNoTLS says that a server does not offer what the policy asks for.
var errNoTLS = errors.New("no STARTTLS")

// attempt is one connection to one address under a policy.
type attempt struct {
	peer
	pol   *policy
	local net.Addr
	test  error // why a policy that is being tested would have failed

}

// tls is the configuration of the handshake. With DANE the name that is sent is the TLSA base domain (RFC 7672 8.1), but
// where a name must be in the certificate too it is that of the host.
func (d *delivery) tls(a *attempt) *tls.Config {
	p := a.pol
	level, name := tlsconf.Unverified, a.host
	if p.level == mta.TLSVerify {
		level = tlsconf.Verified
	} else if p.records != nil {
		name = p.records.Base
	}
	cfg := tlsconf.Client(level, name)
	cfg.RootCAs = d.opt.Roots
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if p.sts != nil && p.sts.Mode == mtasts.Testing {
			a.test = d.verifyPKIX(s, a.host)
		}
		if p.records != nil && len(p.records.Usable) > 0 {
			return p.records.Verify(s, p.names, d.opt.Now())
		}
		return nil
	}
	return cfg
}

func (d *delivery) verifyPKIX(s tls.ConnectionState, name string) error {
	o := x509.VerifyOptions{Roots: d.opt.Roots, DNSName: name, Intermediates: x509.NewCertPool(), CurrentTime: d.opt.Now()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}

// note tells the watcher what became of a connection; err is why it cannot be used.
func (d *delivery) note(a *attempt, c *smtpc.Client, err error) {
	switch {
	case err == nil:
		results := append([]tlsrpt.Result(nil), a.pol.failed...)
		level := tlsrpt.Clear
		if c.TLS() != nil {
			level = tlsrpt.Encrypted
			if a.pol.why != "" {
				level = tlsrpt.Authenticated
			}
		}
		for _, p := range a.pol.reported {
			results = append(results, tlsrpt.Result{Policy: p, Failure: a.success(p, c)})
		}
		d.report(a.host, results, level, true)
	case isTLS(err):
		results := append([]tlsrpt.Result(nil), a.pol.failed...)
		for _, p := range a.pol.reported {
			if f := a.failure(p, c, err); f != nil {
				results = append(results, tlsrpt.Result{Policy: p, Failure: f})
			}
		}
		d.report(a.host, results, tlsrpt.Clear, false)
	}
}

// success returns what is wrong for a policy in a connection that can be used.
func (a *attempt) success(p tlsrpt.Policy, c *smtpc.Client) *tlsrpt.Failure {
	switch {
	case c.TLS() == nil:
		return a.details(tlsrpt.NoSTARTTLS, c)
	case p.Type == tlsrpt.PolicySTS && a.test != nil:
		return a.details(tlsrpt.Certificate(a.test), c)
	}
	return nil
}

// failure returns why a policy is not held; nil where that is not known, because another one failed first.
func (a *attempt) failure(p tlsrpt.Policy, c *smtpc.Client, err error) *tlsrpt.Failure {
	var f *tlsrpt.Failure
	switch mismatch := errors.Is(err, dane.ErrMismatch); {
	case errors.Is(err, errNoTLS):
		return a.details(tlsrpt.NoSTARTTLS, c)
	case isCertificate(err) && mismatch != (p.Type == tlsrpt.PolicyTLSA):
		return nil
	default:
		f = a.details(tlsrpt.Certificate(err), c)
	}
	var alert tls.AlertError
	switch {
	case errors.Is(err, dane.ErrMismatch):
		f.Reason = "tlsa-mismatch"
	case errors.As(err, &alert):
		f.Reason = alert.Error()
	case f.Type == tlsrpt.Invalid:
		f.Reason = "tls-handshake-failed"
	}
	return f
}

func (a *attempt) details(t tlsrpt.ResultType, c *smtpc.Client) *tlsrpt.Failure {
	f := &tlsrpt.Failure{Type: t, Host: a.host, IP: a.addr.Addr().String()}
	if a.local != nil {
		f.SourceIP, _, _ = net.SplitHostPort(a.local.String())
	}
	if c != nil {
		f.Helo = c.Greeted()
	}
	return f
}

// isTLS says that there is no TLS, or that it does not work.
func isTLS(err error) bool {
	var t *trouble
	return errors.Is(err, smtpc.ErrTLS) || errors.As(err, &t) && (t.enhanced == "4.7.4" || t.enhanced == "4.7.5")
}

// isCertificate says that a handshake has failed for what the certificate is, not for the wire.
func isCertificate(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad) || errors.Is(err, dane.ErrMismatch)
}

// report tells the watcher of a session. TLS reports themselves are not reported: they would make one more each day.
func (d *delivery) report(host string, results []tlsrpt.Result, level tlsrpt.Level, usable bool) {
	if d.opt.Watcher == nil || d.r.Dest.Named() {
		return
	}
	if d.isTLSReport() {
		results = nil
	}
	if d.waivesTLS() { // what such a message goes over says nothing about the others
		usable = false
	}
	d.opt.Watcher.Session(tlsrpt.Session{Domain: d.r.Dest.Domain, Host: host, Level: level, Usable: usable, Results: results})
}

func stsFailure(err error) tlsrpt.ResultType {
	var bad *tls.CertificateVerificationError
	switch {
	case errors.As(err, &bad):
		return tlsrpt.STSWebPKI
	case errors.Is(err, mtasts.ErrInvalid):
		return tlsrpt.STSInvalid
	}
	return tlsrpt.STSFetch
}

// required turns what has gone wrong with a host into a failure for a sender who requires TLS all the way: a server without
// it, or whose certificate nobody vouches for, will not do later either (RFC 8689 4.2.1, 5).
func (d *delivery) required(a *attempt, c *smtpc.Client, err error) *mta.Outcome {
	if !d.r.RequireTLS || !d.relays() {
		return nil
	}
	text := ""
	switch {
	case err == nil && c.TLS() != nil && c.Extensions().Has("REQUIRETLS"):
		return nil
	case err == nil:
		text = a.host + " does not promise to require TLS all the way, as the sender wants"
	case errors.Is(err, errNoTLS) || isCertificate(err):
		text = a.host + " has no TLS that can be vouched for, and the sender requires it all the way"
	default:
		return nil
	}
	o := d.failed(550, codeRequireTLS, text, err)
	o.Addr = a.peer.String()
	return &o
}

// maxHeader bounds what is read of a header in search of the fields below.
const maxHeader = 64 << 10

// fields are what the header of a message says about its way.
type fields struct {
	noTLS  bool // TLS-Required: No (RFC 8689 5)
	report bool // TLS-Report-Domain (RFC 8460 5.3)
}

func (d *delivery) header() fields {
	if d.fields != nil {
		return *d.fields
	}
	d.r.Content.Reset()
	buf := make([]byte, 0, 4<<10) // most headers are no longer
	var err error
	for n := 1; n > 0 && err == nil && len(buf) < maxHeader && !bytes.Contains(buf, []byte("\r\n\r\n")); {
		buf = slices.Grow(buf, 1)
		n, err = d.r.Content.Read(buf[len(buf):min(cap(buf), maxHeader)])
		buf = buf[:len(buf)+n]
	}
	f := fields{}
	if err == nil || err == io.EOF { // else the message fails where it is read in earnest
		f = readFields(buf)
	}
	d.fields = &f
	return f
}

// waivesTLS says that the sender would rather have the message arrive than have it protected as the receivers' domain
// asks. The MAIL parameter outweighs the header (RFC 8689 4.1).
func (d *delivery) waivesTLS() bool { return !d.r.RequireTLS && d.header().noTLS }

func (d *delivery) isTLSReport() bool { return d.header().report }
