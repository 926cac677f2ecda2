package filters

import "context"

// Info is what a filter says of itself.
type Info struct {
	Name    string // as its file is called
	Version string
	Summary string // one line

	// Roles are the listeners where it works unless its settings say otherwise: RoleMX, RoleSubmission, RoleLocal, RoleLMTP.
	// None: all of them.
	Roles []string
	// Edits: its verdicts may hold edits.
	Edits bool
	// Parallel: it may run at the same time as its neighbours, because it needs no notes of theirs and makes no edits.
	Parallel bool
	// EnvelopeOnly: its Message looks at the event alone. Then no file is made for it.
	EnvelopeOnly bool
}

// Roles of a listener.
const (
	RoleMX         = "mx"         // from other hosts
	RoleSubmission = "submission" // from users who have logged in
	RoleLocal      = "local"      // from this machine, by the sendmail command
	RoleLMTP       = "lmtp"       // from other hosts of the operator, which have accepted it
)

// Filter is the least that a filter has. It has one or more of the stages' methods beside, and they are called by many
// goroutines at once. A nil verdict goes on to the next filter; an error is a failure of the filter, for which smtpd's
// configuration says what to do. ctx ends when smtpd no longer waits.
type Filter interface {
	Describe() Info
}

// Connecter judges a client that has connected.
type Connecter interface {
	Connect(ctx context.Context, e *Event) (*Verdict, error)
}

// Helloer judges HELO and EHLO.
type Helloer interface {
	Hello(ctx context.Context, e *Event) (*Verdict, error)
}

// SenderChecker judges MAIL.
type SenderChecker interface {
	Sender(ctx context.Context, e *Event) (*Verdict, error)
}

// RecipientChecker judges each RCPT that would be taken.
type RecipientChecker interface {
	Recipient(ctx context.Context, e *Event) (*Verdict, error)
}

// MessageChecker judges the whole message.
type MessageChecker interface {
	Message(ctx context.Context, e *Event) (*Verdict, error)
}

// DoneHearer hears what became of a message that its Message has seen. It may be missed.
type DoneHearer interface {
	Done(ctx context.Context, session, id string, fate Fate)
}

// Configurer takes the site and its settings. It checks, and has no effect: the process that it is to replace may still be
// at work. Called once, before all stages.
type Configurer interface {
	Configure(site *Site, settings Settings) error
}

// Activator begins the work: now the process that was there before has ended, and stores can be opened.
type Activator interface {
	Activate(ctx context.Context) error
}

// Closer ends the work.
type Closer interface {
	Close() error
}

// Fate is what became of a message.
type Fate int

// Fates.
const (
	Committed Fate = 1 + iota // it is in the queue
	Refused                   // the client was told no
	Dropped                   // it was discarded, or the client has gone
)

// Site is where a filter works.
type Site struct {
	Hostname       string
	AuthservID     string // what our Authentication-Results begin with (RFC 8601)
	LocalDomains   []string
	Resolvers      []string // "192.0.2.1:53"
	DKIMKeys       []DKIMKey
	SharedStoreURL string
	StateDirectory string // the filter's own, to write in
	SubmitSocket   string // where this machine hands mail in, by SMTP; only the filter called dmarc is told
}

// DKIMKey is a private key of a domain; only the filter called dkim is told.
type DKIMKey struct{ Domain, Selector, Path string }
