package spool

import (
	"encoding/json"
	"errors"
	"fmt"
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
	// A report: these recipients' failures have been told of.
	Reported []int `json:"reported,omitempty"`
}

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
	if e.Reported != nil {
		if len(e.Reported) == 0 {
			return entry{}, errors.New("report about nobody")
		}
		for _, r := range e.Reported {
			if r < 0 {
				return entry{}, errors.New("negative recipient")
			}
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
