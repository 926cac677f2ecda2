package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// statusReread is how long what the status file said is believed without another look.
const statusReread = time.Second

// room says why no message can be taken now.
type room struct {
	spool   string
	reserve uint64 // octets

	status   string // queue-runner's
	maxQueue int    // 0 = any
	now      func() time.Time

	mu     sync.Mutex // guards below
	looked time.Time
	last   mta.QueueStatus
}

// check asks the spool's disk for its room, and queue-runner for the length of its queue. A status that is old says
// nothing: queue-runner may be stopped, and what comes in meanwhile is to wait for it.
func (r *room) check() error {
	free, err := durable.OS{}.Free(r.spool)
	if err == nil && free < r.reserve {
		err = fmt.Errorf("%s: %d octets free, smtpd.reserve_disk wants %d: make room or lower it", r.spool, free, r.reserve)
	}
	if err != nil || r.maxQueue == 0 {
		return err
	}
	if st := r.read(); st.Messages > r.maxQueue {
		return fmt.Errorf("queue: %d messages, smtpd.max_queue allows %d", st.Messages, r.maxQueue)
	}
	return nil
}

// full says whether a mailbox has no room for so many octets, as far as queue-runner knows.
func (r *room) full(login mta.Address, octets int64) bool {
	left, known := r.read().Room[login.String()]
	return known && (left <= 0 || octets > left)
}

// read returns the status, the zero one where there is none to believe.
func (r *room) read() mta.QueueStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if age := now.Sub(r.looked); age < 0 || age >= statusReread {
		r.looked, r.last = now, mta.QueueStatus{}
		var st mta.QueueStatus
		if b, err := os.ReadFile(r.status); err == nil && json.Unmarshal(b, &st) == nil {
			r.last = st
		}
	}
	if age := now.Sub(r.last.At); age < -mta.QueueStatusAge || age > mta.QueueStatusAge {
		return mta.QueueStatus{}
	}
	return r.last
}

func newRoom(c *config.Config) *room {
	return &room{spool: c.Spool.Path, reserve: uint64(c.SMTPD.ReserveDisk), status: filepath.Join(c.Run, "queue", "status"),
		maxQueue: c.SMTPD.MaxQueue, now: time.Now}
}
