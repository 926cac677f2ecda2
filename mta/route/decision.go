package route

import "github.com/posthouse-mail/posthouse/mta"

// Kind tells the decisions apart.
type Kind uint8

// The decisions. What is unknown is deferred: the zero Kind.
const (
	Deferred Kind = iota // Reply, Cause
	Mailbox              // Login, Folder, Quota
	Alias                // Members, Owner
	Remote               // Dest
	Discard              // accepted and thrown away, as a [[route]] says
	Program              // Program
	Refused              // Reply
)

func (k Kind) String() string {
	return [...]string{"deferred", "mailbox", "alias", "remote", "discard", "program", "refused"}[k]
}

// Decision is where one recipient's message goes. Which fields count stands beside each Kind.
type Decision struct {
	Kind    Kind
	Login   mta.Address // whose mailbox: the user's address as the directory has it
	System  string      // ... or the account of the machine that it is the mail of; "" = a virtual mailbox
	Target  string      // an entry of that account's ~/.forward; only queue-runner makes such a decision
	Folder  string      // what stood behind the delimiter, "" = none; a hint, as the folder need not exist
	Quota   int64       // what the mailbox may hold, octets; 0 = anything
	Members []Member    // at least one, without duplicates
	Owner   mta.Address // of an Alias: who hears of members that cannot be reached; the zero Address = the sender
	Dest    mta.Destination
	Program string    // the name of its table in [programs]
	Reply   mta.Reply // what the sender may be told
	Cause   error     // local detail, for the log alone
	Open    bool      // of a Deferred: it may be an alias; only Route can tell, later
}

// Member is one final recipient of an alias. Its decision is a Mailbox, a Remote, a Program or a Discard, or a Refused or Deferred
// that concerns it alone: the other members get the message all the same. One that may be an alias is not among them: the alias
// that names it waits. A Member must not be routed through Route again, which would expand it again; Final decides on it at a
// later attempt.
type Member struct {
	Address mta.Address
	Decision
}

// Acceptance is what smtpd needs to know of a recipient.
type Acceptance struct {
	Ours  bool        // in a domain of ours, relayed ones too; if not, only who may relay may send there
	Login mta.Address // whose mailbox it comes into; the zero Address = another's, or several
	Quota int64       // what that may hold, octets; 0 = anything
	Reply mta.Reply   // the refusal, temporary or permanent; the zero Reply accepts
	Cause error       // of a temporary refusal, for the log alone
	// Ask is the next host where that decides (recipients = "verify"), for Address; nil = there is nobody to ask.
	Ask     *mta.Destination
	Address mta.Address
}

func refused(code int, enhanced, text string) Decision {
	return Decision{Kind: Refused, Reply: mta.Reply{Code: code, Enhanced: enhanced, Text: text}}
}

func unknownUser() Decision { return refused(550, "5.1.1", "no such user here") }

// lookupFailed is for a directory that does not answer.
func lookupFailed(cause error) Decision {
	return Decision{Kind: Deferred, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "recipient lookup failed, try again later"}, Cause: cause, Open: true}
}

// misconfigured is for what the operator has to mend: mail waits for it.
func misconfigured(cause error) Decision {
	return Decision{Kind: Deferred, Reply: mta.Reply{Code: 451, Enhanced: "4.3.5", Text: "recipient is misconfigured here"}, Cause: cause}
}
