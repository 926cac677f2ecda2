package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// entry is one statement about a message: the payload of result and reported records in the journal, and a line of
// deferred/ab/ID.log. It is JSON in both places, so that a person can read it.
type entry struct {
	ID mta.ID `json:"id"`
	// A result: recipient R got its Nth result. The highest N counts.
	R int `json:"r"`
	N int `json:"n,omitempty"`
	// State is delivered, deferred, failed or expanded.
	State    string    `json:"state,omitempty"`
	Quiet    bool      `json:"quiet,omitempty"` // failed, and nobody is to be told
	Tell     string    `json:"tell,omitempty"`  // delivered or expanded, and the sender is to be told so in this word
	Code     int       `json:"code,omitempty"`
	Enhanced string    `json:"enhanced,omitempty"`
	Text     string    `json:"text,omitempty"`
	Host     string    `json:"host,omitempty"`
	Addr     string    `json:"addr,omitempty"`
	TLS      string    `json:"tls,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Tries    int       `json:"tries,omitempty"`
	Next     time.Time `json:"next,omitzero"` // when the message is tried again
	// An expansion: Members became the recipients Base, Base+1, ...
	Base    int             `json:"base,omitempty"`
	Members []mta.Recipient `json:"members,omitempty"`
	// A report: the ends of these recipients have been told of, and the delay of these.
	Reported []int `json:"reported,omitempty"`
	Delayed  []int `json:"delayed,omitempty"`
	// The Nth word on whether the message is held: the reason, "" when it is released.
	Hold *string `json:"hold,omitempty"`
}

func (e entry) isReport() bool { return e.Reported != nil || e.Delayed != nil }

const stateExpanded = "expanded"

func (e entry) bytes() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		// Strings, numbers and times of this century always have a JSON form.
		panic(fmt.Sprintf("spool: entry: %v", err))
	}
	return b
}

// parseEntry reads an entry and checks what its readers rely on.
func parseEntry(b []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(b, &e); err != nil {
		return entry{}, err
	}
	if _, err := mta.ParseID(string(e.ID)); err != nil {
		return entry{}, err
	}
	switch {
	case e.isReport():
		if err := checkReport(e); err != nil {
			return entry{}, err
		}
		return e, nil
	case e.Hold != nil:
		if e.N < 1 {
			return entry{}, errors.New("number out of range")
		}
		return e, nil
	}
	switch e.State {
	case stateExpanded, mta.Delivered.String(), mta.Deferred.String(), mta.Failed.String():
	default:
		return entry{}, fmt.Errorf("state %q", e.State)
	}
	if e.R < 0 || e.N < 1 || e.Base < 0 {
		return entry{}, errors.New("number out of range")
	}
	return e, nil
}

func checkReport(e entry) error {
	all := slices.Concat(e.Reported, e.Delayed)
	if len(all) == 0 {
		return errors.New("report about nobody")
	}
	if slices.Min(all) < 0 {
		return errors.New("negative recipient")
	}
	return nil
}

func (e entry) outcome() mta.Outcome {
	o := mta.Outcome{Code: e.Code, Enhanced: e.Enhanced, Text: e.Text, Host: e.Host, Addr: e.Addr, TLS: e.TLS, At: e.At}
	switch e.State {
	case mta.Delivered.String():
		o.Status = mta.Delivered
	case mta.Failed.String():
		o.Status = mta.Failed
	}
	return o
}
