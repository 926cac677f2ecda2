// Package recode gives a message the form that a server takes which takes less than the message asks for: content in 7
// bits (RFC 6152 3), shorter lines, a header without UTF-8 (RFC 6532). Parts become quoted-printable or base64 (RFC 2045
// 6), fields become encoded words (RFC 2047); everything else stays as it is, octet by octet.
//
// What is signed as it stands, a multipart/signed with all that is in it (RFC 1847 2.1), is never touched: where it does
// not fit, there is an error. mta/remote calls it when it knows what the server offers. A message is read several times
// and never held whole; all that is kept of it are some bits for each part.
package recode
