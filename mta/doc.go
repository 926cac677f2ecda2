// Package mta holds the nouns of the mail system: Address, Envelope, Recipient, Outcome, Reply and ID.
// They carry values between the packages above and know no protocol, no disk and no configuration.
// Everything here uses the standard library only.
//
// Strings from the network or from a file become an Address or an ID once, at the edge, through
// ParseAddress and ParseID; whoever holds one may rely on its syntax.
package mta
