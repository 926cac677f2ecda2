// Package dmarc says what a domain wants done with mail in its name (RFC 9989): it finds the policy, compares the author's domain
// with what SPF and DKIM have proven, and keeps the results for the aggregate reports that the domain asks for (RFC 9990). The
// dmarc filter calls it, and `posthouse dmarc`. It checks neither SPF nor DKIM, and sends nothing itself.
package dmarc
