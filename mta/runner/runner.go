package runner

import (
	"context"
	"io"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// Store is what the runner needs of spool.Store.
type Store interface {
	Outstanding() []*spool.Message
	Due(m *spool.Message, notice time.Time) time.Time
	Poll(max int) (fresh []*spool.Message, more bool, err error)
	Load(m *spool.Message) (*spool.Loaded, error)
	View(m *spool.Message) (*spool.View, error)
	Unsettled(m *spool.Message) []int
	Hold(m *spool.Message, reason string)
	Record(m *spool.Message, rcpt int, res spool.Result)
	Deposited(m *spool.Message, rcpt int, dev uint64, dir string)
	Expand(m *spool.Message, rcpt int, members []mta.Recipient, tell string, forward spool.Build) (*spool.Message, error)
	Report(m *spool.Message, t spool.Telling, build spool.Build) (*spool.Message, error)
	Spill(m *spool.Message) error
	Flush() error
	Idle() bool
	Checkpoint() (redo []*spool.Message, err error)
}

// Router says where a recipient's message goes: Route for a recipient of an envelope, Final for a member of an alias.
type Router interface {
	Route(ctx context.Context, a mta.Address) route.Decision
	Final(ctx context.Context, a mta.Address) route.Decision
}

// Local puts a message into a mailbox.
type Local interface {
	Deliver(ctx context.Context, r local.Request) (mta.Outcome, local.Receipt)
}

// Search looks for what an earlier run delivered, and completes it where it was cut short.
type Search interface {
	Repair(ctx context.Context, r local.Request) (present bool, rc local.Receipt, err error)
}

// System delivers by processes that are not queue-runner's own: to users of the machine, and to programs.
type System interface {
	// Deliver returns what became of it, or what the user wants instead: then nothing was delivered, and each target is to
	// be delivered by itself. It ends soon after ctx does.
	Deliver(ctx context.Context, r SystemRequest) (o mta.Outcome, targets []asuser.Target)
}

// SystemRequest is one message for one user of the machine, or one program. Of the request to Local, Mailbox is not set.
type SystemRequest struct {
	local.Request
	User      string        // an account
	Program   string        // the name in [programs]; User is "" then
	Extension string        // what stood behind the delimiter
	Target    asuser.Target // of the user's; the zero Target: that is for the user to say
}

// Signer signs what is made here. What it returns are header fields for the front of the message, each ending in CR LF; "" where
// nobody has given it a key.
type Signer interface {
	// Report is for a report of this host.
	Report(message []byte) (string, error)
	// Forward is for a message to an alias that goes on to another host, as it will be sent.
	Forward(alias mta.Address, e *mta.Envelope, message io.Reader) (string, error)
}

// Transaction is one message for some recipients at one destination.
type Transaction struct {
	Envelope *mta.Envelope
	Rcpts    []mta.Recipient // those to be delivered, of the envelope's or members of its aliases
	Dest     mta.Destination
	Content  io.ReaderAt // as it came in: the envelope's Prepend and Cut are still to be applied
	Size     int64       // of Content, in octets
}

// Remote takes a message off this host.
type Remote interface {
	// Deliver returns an Outcome for each of t.Rcpts, in their order; it ends soon after ctx does. Where up is false any
	// other message for the same destination would have fared the same, and the outcomes, all deferrals, say why.
	Deliver(ctx context.Context, t Transaction) (out []mta.Outcome, up bool)
	// Site names the hosts that take mail for a destination. What is learnt of them in one transaction counts for all
	// destinations with the same name. It may take its time.
	Site(ctx context.Context, d mta.Destination) string
}

// Rewrite gives the sender under which a message to an alias goes on to another host: the same, or one that reports come back to. Of
// an error, which is for the log, it is the same.
type Rewrite func(alias, sender mta.Address) (mta.Address, error)

// Settings are what a reload may change. All fields are needed, save DelayNotice, Metrics, Publish, Rewrite and Sign.
type Settings struct {
	Router     Router
	Local      Local
	Search     Search // for the start alone: nothing is delivered until it is over
	Remote     Remote
	System     System                                           // nil: there is none, and mail for it waits
	Sign       Signer                                           // nil: nothing is signed
	Rewrite    Rewrite                                          // nil: forwards keep their senders
	Mailbox    func(login mta.Address) (path string, err error) // where a user's Maildir is
	Hostname   string                                           // reports come from it
	Postmaster mta.Address                                      // gets double bounces

	Metrics *Metrics // nil: nobody sees them; the same in all settings

	Publish func(mta.QueueStatus) error // tells others of the queue, every QueueStatusEvery; nil: nobody is told

	Lifetime       time.Duration // how long a message is tried
	BounceLifetime time.Duration // ... one with the null sender
	RetryFirst     time.Duration
	RetryMax       time.Duration
	DelayNotice    time.Duration // after so long senders are told that a message is still being tried; 0 = never

	MaxRemote         int           // transactions at once
	MaxPerDestination int           // ... with one site
	MaxLocal          int           // visits at once; each delivers to one mailbox at a time
	Drain             time.Duration // how long running deliveries may go on after the end of Run's context
}

// Runner is queue-runner's schedule over one spool.
type Runner struct {
	store  Store
	log    *maillog.Log
	set    Settings
	reload chan Settings

	questions chan func(*schedule)
	ended     chan struct{} // closed at the end of Run
}

// New returns a Runner. Nothing happens before Run.
func New(store Store, log *maillog.Log, s Settings) *Runner {
	return &Runner{store: store, log: log, set: s.complete(), reload: make(chan Settings, 1), questions: make(chan func(*schedule)), ended: make(chan struct{})}
}

// complete gives a runner counters that it need not ask for.
func (s Settings) complete() Settings {
	if s.Metrics == nil {
		s.Metrics = NewMetrics()
	}
	return s
}

// Reload puts new settings in force for what begins after it; deliveries under way go on with the old ones. It does not
// wait. One goroutine at a time may call it.
func (r *Runner) Reload(s Settings) {
	s = s.complete()
	for {
		select {
		case r.reload <- s:
			return
		case <-r.reload: // an older one that nobody has looked at
		}
	}
}

// Run works until ctx ends, and then until running deliveries have ended or had Settings.Drain to do so. It calls ready
// once what an earlier run left is in order and scheduled. woken is the trigger: a value says that there may be new
// messages. The error is of the last write to the spool; what could not be written will be found out by the next start.
func (r *Runner) Run(ctx context.Context, woken <-chan struct{}, ready func()) error {
	defer close(r.ended)
	s := newSchedule(r)
	defer s.cut()
	s.takeUp(ctx)
	s.set.Search, r.set.Search = nil, nil // it may hold what it has seen
	if ctx.Err() == nil {
		ready()
	}
	s.loop(ctx, woken)
	return s.end()
}
