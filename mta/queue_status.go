package mta

import "time"

// QueueStatus is what queue-runner tells of its queue, in run/queue/status, as one JSON object.
type QueueStatus struct {
	At       time.Time `json:"at"`              // when this was so
	Messages int       `json:"messages"`        // that queue-runner has read and not finished
	Oldest   time.Time `json:"oldest,omitzero"` // when the first of them came in
	// Room is how many octets are left in mailboxes that are nearly full, by their users' addresses; none where it is 0 or less.
	Room map[string]int64 `json:"room,omitempty"`
}

// QueueStatusEvery is how often the status is written, and QueueStatusAge how old one may be to be believed.
const (
	QueueStatusEvery = 10 * time.Second
	QueueStatusAge   = time.Minute
)
