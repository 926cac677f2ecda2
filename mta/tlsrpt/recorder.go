package tlsrpt

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// tickEvery is how often counters are written, and due reports sent.
const tickEvery = time.Minute

// Resolver asks for the record; *dns.Resolver is one. Its errors are those of package dns.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
}

var _ Resolver = (*dns.Resolver)(nil)

// Settings are what may change while a Recorder works.
type Settings struct {
	Reports  bool        // sessions are counted and reports sent; otherwise only levels are remembered
	Hostname string      // who reports
	Contact  mta.Address // who answers questions about a report, and its From
}

// Options of a Recorder; all are needed but the last.
type Options struct {
	Settings
	Dir      string // of the files; made by Open
	Resolver Resolver
	// Mail puts a message into the queue, for good when it returns without an error.
	Mail func(to mta.Address, content []byte) error
	TLS  *tls.Config // to verify the host of an https URL with
	Dial func(ctx context.Context, network, hostPort string) (net.Conn, error)
	Log  *maillog.Log
	Now  func() time.Time
}

// Recorder takes Sessions. It is safe for use by many goroutines.
type Recorder struct {
	opt  Options
	http *http.Client

	mu      sync.Mutex // guards what follows
	set     Settings
	today   *day
	dirty   bool
	closed  []*day // that have ended and are not written yet
	history history

	// Of Run's goroutine alone:
	pending []*pending
	badDisk bool
}

// Open reads what an earlier run has counted. A file that is spoiled is left out, and said so.
func Open(o Options) (*Recorder, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	r := &Recorder{opt: o, http: newClient(o), set: o.Settings, history: newHistory()}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Configure puts new settings in force.
func (r *Recorder) Configure(s Settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set = s
}

func (r *Recorder) settings() Settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

// Session takes in what became of a session.
func (r *Recorder) Session(s Session) {
	now := r.opt.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	if r.set.Reports && len(s.Results) > 0 {
		r.today.count(s)
		r.dirty = true
	}
	if was, worse := r.history.note(s, now); worse {
		r.opt.Log.TLSDowngraded(s.Domain, s.Host, was.String(), s.Level.String())
	}
}

// roll begins a new day at midnight, UTC. The lock is held.
func (r *Recorder) roll(now time.Time) {
	start := dayOf(now)
	if r.today != nil && !start.After(r.today.Start) { // a clock that goes back counts for the day that is open
		return
	}
	if r.today != nil && len(r.today.Domains) > 0 {
		r.closed = append(r.closed, r.today)
	}
	r.today = &day{Start: start, Domains: map[string][]*tally{}}
}

// Run writes the counters and sends the reports. It returns when ctx ends, and everything is written then.
func (r *Recorder) Run(ctx context.Context) error {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		r.save()
		r.send(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			r.save()
			return nil
		}
	}
}
