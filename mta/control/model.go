package control

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// The words for where a message stands.
const (
	StatusNew      = "new"      // not tried
	StatusActive   = "active"   // a round of tries is under way, or waits for its turn
	StatusDeferred = "deferred" // waits for its next try
	StatusHeld     = "held"     // waits for the operator
	StatusLater    = "later"    // waits for the time that its sender has set
)

// Statuses are all words for where a message stands.
func Statuses() []string {
	return []string{StatusNew, StatusActive, StatusDeferred, StatusHeld, StatusLater}
}

// Message is a message in the queue.
type Message struct {
	ID      mta.ID    `json:"id,omitempty"`
	Arrived time.Time `json:"arrived,omitzero"`
	Sender  string    `json:"sender"` // "" = the null sender
	Size    int64     `json:"size"`   // octets of the content
	Role    string    `json:"role,omitempty"`
	Login   string    `json:"login,omitempty"`
	Client  string    `json:"client,omitempty"`
	Status  string    `json:"status,omitempty"`
	Why     string    `json:"why,omitempty"`   // it waits
	Site    string    `json:"site,omitempty"`  // that it waits for
	Next    time.Time `json:"next,omitzero"`   // when something is done about it next
	Rcpts   []Rcpt    `json:"rcpts,omitempty"` // those that are not done; of a Detail, all
	Error   string    `json:"error,omitempty"` // it, or the rest of the list, cannot be read
}

// Waiting are the recipients that are not done.
func (m *Message) Waiting() []Rcpt {
	return slices.DeleteFunc(slices.Clone(m.Rcpts), func(r Rcpt) bool { return r.State != "waiting" })
}

// Rcpt is a recipient of a message.
type Rcpt struct {
	Address string    `json:"address"`
	State   string    `json:"state"` // waiting, failed or delivered (and a report is due), done
	Tries   int       `json:"tries,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	Reply   string    `json:"reply,omitempty"` // the last one
	Host    string    `json:"host,omitempty"`  // that gave it, "" = this one
	Member  bool      `json:"member,omitempty"`
}

// Attempt is an earlier try for a recipient.
type Attempt struct {
	At      time.Time `json:"at,omitzero"`
	Address string    `json:"address"`
	Tries   int       `json:"tries"`
	State   string    `json:"state"` // delivered, deferred or failed
	Reply   string    `json:"reply,omitempty"`
	Host    string    `json:"host,omitempty"`
	Addr    string    `json:"addr,omitempty"`
	TLS     string    `json:"tls,omitempty"`
}

// Detail is all that is known of a message beside its content.
type Detail struct {
	Message
	Envelope json.RawMessage `json:"envelope"` // posthouse-spool(5), ENVELOPE
	Attempts []Attempt       `json:"attempts,omitempty"`
}

// State is where a message stands in the schedule.
type State struct {
	Status string // StatusNew, StatusActive or StatusDeferred; "" = the schedule does not know it (yet, or any more)
	Due    time.Time
	Site   string // that it waits for
	Why    string // ... as that is dead
}
