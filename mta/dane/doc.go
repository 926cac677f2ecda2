// Package dane finds the TLSA records of a mail server and holds its certificate against them (RFC 6698, RFC 7671, RFC
// 7672): usages DANE-TA(2) and DANE-EE(3), which are all that SMTP knows. mta/remote calls it for each host that it goes
// to, and decides what a result means for the message. It dials nothing and logs nothing.
//
// It is our own because it is small: what a certificate must satisfy is a comparison of digests, or one call of
// crypto/x509 with the trust anchor that the records name.
package dane
