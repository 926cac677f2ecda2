package tlsrpt

import (
	"crypto/x509"
	"errors"
)

// PolicyType is the kind of a policy (RFC 8460 4.2).
type PolicyType string

// The kinds.
const (
	PolicyTLSA PolicyType = "tlsa"
	PolicySTS  PolicyType = "sts"
	PolicyNone PolicyType = "no-policy-found"
)

// ResultType is why a session failed (RFC 8460 4.3).
type ResultType string

// The reasons.
const (
	NoSTARTTLS   ResultType = "starttls-not-supported"
	WrongHost    ResultType = "certificate-host-mismatch"
	Expired      ResultType = "certificate-expired"
	NotTrusted   ResultType = "certificate-not-trusted"
	Invalid      ResultType = "validation-failure" // none of the others
	TLSAInvalid  ResultType = "tlsa-invalid"
	DNSSECFailed ResultType = "dnssec-invalid"
	STSFetch     ResultType = "sts-policy-fetch-error"
	STSInvalid   ResultType = "sts-policy-invalid"
	STSWebPKI    ResultType = "sts-webpki-invalid"
)

// Certificate is the reason for which a certificate, or a handshake, failed.
func Certificate(err error) ResultType {
	var host x509.HostnameError
	var bad x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &host):
		return WrongHost
	case errors.As(err, &bad) && bad.Reason == x509.Expired:
		return Expired
	case errors.As(err, &unknown):
		return NotTrusted
	}
	return Invalid
}

// Level is how well a connection was protected, the least first.
type Level int

// The levels.
const (
	Clear         Level = iota // no TLS
	Encrypted                  // TLS with whoever answered
	Authenticated              // TLS with whom DANE, MTA-STS or the configuration names
)

func (l Level) String() string {
	return [...]string{"none", "encrypted", "authenticated"}[l]
}

// Policy is a policy as a report names it (RFC 8460 4.2).
type Policy struct {
	Type   PolicyType `json:"policy-type"`
	Lines  []string   `json:"policy-string,omitempty"` // TLSA records, or the lines of an MTA-STS policy
	Domain string     `json:"policy-domain"`
	MX     []string   `json:"mx-host,omitempty"`
}

// Failure is one reason for which a session failed (RFC 8460 4.3, 4.4).
type Failure struct {
	Type     ResultType `json:"result-type"`
	SourceIP string     `json:"sending-mta-ip,omitempty"`
	Host     string     `json:"receiving-mx-hostname,omitempty"`
	Helo     string     `json:"receiving-mx-helo,omitempty"`
	IP       string     `json:"receiving-ip,omitempty"`
	Reason   string     `json:"failure-reason-code,omitempty"`
}

// Result is what became of one policy in a session: success when there is no failure.
type Result struct {
	Policy  Policy
	Failure *Failure
}

// Session is one attempt to speak with one address of a host for a domain. A host that was never connected to because its
// policy forbids it counts too.
type Session struct {
	Domain string // of the recipients
	Host   string
	// Level is the protection of the connection that mail could go over; Usable is false where there was none.
	Level   Level
	Usable  bool
	Results []Result
}
