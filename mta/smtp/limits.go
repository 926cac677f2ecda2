package smtp

// Lengths in octets, with CR LF.
const (
	MaxCommand = 512      // RFC 5321 4.5.3.1.4
	MaxText    = 512      // a reply line: RFC 5321 4.5.3.1.5
	MaxAuth    = 12 << 10 // an AUTH command or a response to a challenge: RFC 4954 4
	MaxXclient = 2 << 10  // three names in xtext
	MaxReply   = 64 << 10 // a reply of all its lines; our own bound
)

// What extensions add to MaxCommand.
const (
	// SIZE 26 (RFC 1870), BODY 17 (RFC 6152), SMTPUTF8 10 (RFC 6531), AUTH 500 (RFC 4954), RET and ENVID 117 (RFC 3461),
	// REQUIRETLS 11 (RFC 8689), BY 17 (RFC 2852), HOLDUNTIL 34 (RFC 4865), MT-PRIORITY 15 (RFC 6710).
	mailExtra = 747
	// NOTIFY and ORCPT 537 (RFC 3461).
	rcptExtra = 537
)

// MaxLine returns how long the command line with this verb (in capitals) may be.
func MaxLine(verb string) int {
	switch verb {
	case "MAIL":
		return MaxCommand + mailExtra
	case "RCPT":
		return MaxCommand + rcptExtra
	case "AUTH":
		return MaxAuth
	case "XCLIENT":
		return MaxXclient
	}
	return MaxCommand
}
