// Package spf says whether a host may send for a domain (RFC 7208). Explanations (exp) are read and not told. The filter spf asks
// it of others, and posthouse check --dns of ourselves; it does no more than ask DNS, which the RFC's bounds limit.
package spf
