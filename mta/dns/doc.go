// Package dns is the resolver: mail exchangers, addresses, texts and names, asked of recursive name servers over UDP
// and TCP (RFC 1035, RFC 7766), with a bounded cache. mta/remote, and whoever else needs a name, calls it through a small
// interface of its own. It logs nothing: an error says which question failed at which server.
//
// It obeys RFC 5321 5.1 and RFC 7505 (mail exchangers and null MX), RFC 2181 (TTLs), RFC 2308 (negative answers),
// RFC 6891 (EDNS) and RFC 5890 (names beyond ASCII are asked as A-labels). A reply counts only when it has the id and
// the question that were sent (RFC 5452 9.1).
//
// All that knows the DNS library stands in wire.go.
package dns
