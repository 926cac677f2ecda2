package mta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// EnvelopeVersion is the major version that this program writes and the newest that it reads.
const EnvelopeVersion = 1

// ErrNewer says that an envelope was written by a newer program; it is left where it is.
var ErrNewer = errors.New("written by a newer version")

// Roles tell how a message came in.
const (
	RoleMX         = "mx"
	RoleSubmission = "submission"
	RoleLocal      = "local"
	RoleLMTP       = "lmtp"
	RoleBounce     = "bounce"  // a report that queue-runner made
	RoleForward    = "forward" // an alias's members off this host
)

// Values of Envelope.Body (RFC 6152).
const (
	Body7Bit     = "7BIT"
	Body8BitMIME = "8BITMIME"
)

// Envelope is all that is known of a message beside its content: spool.5 documents its form on disk, one line of JSON.
// Fields that this version does not know survive reading and writing.
type Envelope struct {
	V          int             `json:"v"`
	ID         ID              `json:"id"`
	Arrived    time.Time       `json:"arrived"`
	Role       string          `json:"role"`
	Sender     Address         `json:"sender"`
	Rcpts      []Recipient     `json:"rcpts"`
	Body       string          `json:"body,omitempty"`
	SMTPUTF8   bool            `json:"smtputf8,omitempty"`
	RequireTLS bool            `json:"requiretls,omitempty"`
	Ret        string          `json:"ret,omitempty"`   // FULL or HDRS (RFC 3461 4.3)
	EnvID      string          `json:"envid,omitempty"` // as xtext (RFC 3461 4.4)
	Priority   int             `json:"priority,omitempty"`
	DeliverBy  *DeliverBy      `json:"deliver_by,omitempty"`
	ReleaseAt  time.Time       `json:"release_at,omitzero"`
	Hold       string          `json:"hold,omitempty"` // why it is held; "" = not held
	Auth       string          `json:"auth,omitempty"` // MAIL's AUTH= parameter (RFC 4954 5)
	Login      string          `json:"login,omitempty"`
	Origin     Origin          `json:"origin"`
	Notes      json.RawMessage `json:"notes,omitempty"`   // what filters found
	Prepend    string          `json:"prepend,omitempty"` // header fields to put in front, each ending in CR LF
	Cut        []Range         `json:"cut,omitempty"`     // of the content, to leave out; rising, not overlapping
	Size       int64           `json:"size"`              // of the content, in octets
	Report     *Report         `json:"report,omitempty"`
	Expands    *Expansion      `json:"expands,omitempty"`

	extra map[string]json.RawMessage
}

// Recipient is one RCPT command: an address and its DSN parameters (RFC 3461 4.1, 4.2).
type Recipient struct {
	Address Address `json:"address"`
	Notify  string  `json:"notify,omitempty"` // NEVER, or SUCCESS, FAILURE and DELAY with commas
	ORcpt   string  `json:"orcpt,omitempty"`  // addr-type ";" xtext
	Folder  string  `json:"folder,omitempty"` // where a filter wants it: Junk
	Final   bool    `json:"final,omitempty"`  // a member of a list: aliases and forwards do not count any more

	// Of who became a recipient by an alias or a ~/.forward.
	Program string  `json:"program,omitempty"` // the configured program that gets it
	User    string  `json:"user,omitempty"`    // the user of the machine whose ~/.forward named Target
	Target  string  `json:"target,omitempty"`  // that user's: a kind, and behind a blank what it is (asuser.Target)
	Via     string  `json:"via,omitempty"`     // the users whose ~/.forward led to it, with blanks between them
	Left    int     `json:"left,omitempty"`    // where one has: how many recipients it may still become by those of others
	Alias   Address `json:"alias,omitzero"`    // the address here that it came from
}

// Origin is where a message came from.
type Origin struct {
	Listener string `json:"listener,omitempty"`
	Client   string `json:"client,omitempty"` // address and port, or uid=N
	Name     string `json:"name,omitempty"`   // verified host name
	Helo     string `json:"helo,omitempty"`
	TLS      string `json:"tls,omitempty"`
	Cipher   string `json:"cipher,omitempty"`
}

// DeliverBy is MAIL's BY= parameter (RFC 2852).
type DeliverBy struct {
	At   time.Time `json:"at"`
	Mode string    `json:"mode"` // R or N, T behind it for a trace
}

// Return says that the message comes back when it is late; otherwise its sender is told, and it is tried on.
func (d DeliverBy) Return() bool { return strings.HasPrefix(d.Mode, "R") }

// Trace says that each host that hands the message on tells the sender so.
func (d DeliverBy) Trace() bool { return strings.HasSuffix(d.Mode, "T") }

// Range is Len octets of a content from offset Off.
type Range struct {
	Off int64 `json:"off"`
	Len int64 `json:"len"`
}

// Report stands in the envelope of a delivery status notification: which recipients of which message it tells of.
type Report struct {
	Parent  ID    `json:"parent"`
	Rcpts   []int `json:"rcpts,omitempty"`   // what became of them for good
	Delayed []int `json:"delayed,omitempty"` // that they are being tried for long already
}

// Expansion stands in the envelope of a forward: which alias of the parent it came from, and the alias's members on
// this host, which became recipients of the parent.
type Expansion struct {
	Parent  ID          `json:"parent"`
	Rcpt    int         `json:"rcpt"`
	Members []Recipient `json:"members,omitempty"`
	Tell    string      `json:"tell,omitempty"` // a report that the sender asked for is due
}

// envelopeFields has Envelope's fields without its methods.
type envelopeFields Envelope

// MarshalJSON writes the known fields and, behind them, the unknown ones that were read.
func (e *Envelope) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal((*envelopeFields)(e))
	if err != nil || len(e.extra) == 0 {
		return b, err
	}
	x, err := json.Marshal(e.extra)
	if err != nil {
		return nil, err
	}
	b[len(b)-1] = ','
	return append(b, x[1:]...), nil
}

// UnmarshalJSON reads an envelope of this or an older version; ErrNewer for a newer one.
func (e *Envelope) UnmarshalJSON(b []byte) error {
	var f envelopeFields
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if strict.Decode(&f) == nil && f.V >= 1 && f.V <= EnvelopeVersion { // the usual case, in one reading
		*e = Envelope(f)
		return e.check()
	}
	f = envelopeFields{}
	if err := json.Unmarshal(b, &f); err != nil {
		var v struct {
			V int `json:"v"`
		}
		if json.Unmarshal(b, &v) == nil && v.V > EnvelopeVersion {
			return fmt.Errorf("envelope version %d: %w", v.V, ErrNewer)
		}
		return err
	}
	if f.V > EnvelopeVersion {
		return fmt.Errorf("envelope version %d: %w", f.V, ErrNewer)
	}
	if f.V < 1 {
		return fmt.Errorf("envelope version %d", f.V)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for k := range all {
		if isKnown(k) {
			delete(all, k)
		}
	}
	if len(all) > 0 {
		f.extra = all
	}
	*e = Envelope(f)
	return e.check()
}

// check holds what every reader relies on: a usable id, and cuts inside the content.
func (e *Envelope) check() error {
	if _, err := ParseID(string(e.ID)); err != nil {
		return err
	}
	end := int64(0)
	for _, c := range e.Cut {
		if c.Off < end || c.Len < 0 || c.Len > e.Size-c.Off {
			return errors.New("envelope: cut outside of the content")
		}
		end = c.Off + c.Len
	}
	return nil
}
