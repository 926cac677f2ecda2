// Package dns is the resolver: mail exchangers, addresses, texts, TLSA records and names, asked of recursive name servers
// over UDP and TCP (RFC 1035, RFC 7766), with a bounded cache. mta/remote, and whoever else needs a name, calls it through a small
// interface of its own. It logs nothing: an error says which question failed at which server.
//
// It obeys RFC 5321 5.1 and RFC 7505 (mail exchangers and null MX), RFC 2181 (TTLs), RFC 2308 (negative answers),
// RFC 6891 (EDNS) and RFC 5890 (names beyond ASCII are asked as A-labels). A reply counts only when it has the id and
// the question that were sent (RFC 5452 9.1). It validates no signatures: whether an answer is secure is what a trusted
// server says with the AD bit (RFC 4035 4.9.3, RFC 6840 5.7), and never anybody else.
//
// All that knows the DNS library stands in wire.go.
package dns
