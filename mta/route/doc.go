// Package route turns a recipient's address into a decision: a mailbox here, the members of an alias, a place off this
// host, or a refusal. It opens no connection and writes nothing; it reads the users through an interface and the alias
// files of the domains. queue-runner asks it where a message goes, smtpd whether a recipient may be accepted.
//
// In a domain of ours, in this order: postmaster (RFC 5321 4.5.1), the aliases file, the users (with forward=), the same
// two again for the name before the delimiter, catch_all. An alias comes before a user of the same name; where it names
// itself among its members, that member is the user's mailbox. For every other domain: [[route]], the smart host, MX.
package route
