package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// How often mailboxes are looked through for what has expired, and how long after the start for the first time.
const (
	expireEvery = 6 * time.Hour
	expireFirst = 5 * time.Minute
)

// expiring are the folders whose messages have their time ([mailboxes] junk_expire).
var expiring = [...]string{"Junk", "Trash"}

// expirer removes what has been in Junk and Trash for long enough. It belongs here because this is the program that writes in
// virtual mailboxes.
type expirer struct {
	cfg   atomic.Pointer[config.Config]
	log   *maillog.Log
	users userdb.Opener
}

// run goes on until the context ends.
func (e *expirer) run(ctx context.Context) error {
	for wait := expireFirst; ; wait = expireEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			e.expire(ctx, time.Now())
		}
	}
}

// expire looks through all mailboxes once.
func (e *expirer) expire(ctx context.Context, now time.Time) {
	c := e.cfg.Load()
	if c.Mailboxes.JunkExpire == 0 || !c.UsersNeeded() {
		return
	}
	users, err := e.users.All(ctx, c)
	if errors.Is(err, directory.ErrNotListed) {
		return
	}
	if err != nil {
		e.log.MailboxExpired("", 0, err)
	}
	for _, u := range users {
		if ctx.Err() != nil {
			return
		}
		a := u.Address
		if d := c.Domain(a.Domain); d != nil {
			a.Domain = d.Name
		}
		path, err := maildir.Path(c.Mailboxes.Path, a)
		if err != nil {
			continue // no mail can be there
		}
		removed := 0
		for _, name := range expiring {
			folder, ferr := maildir.FolderPath(path, name)
			if ferr == nil {
				var n int
				var counted maildir.Usage
				n, counted, ferr = maildir.Expire(folder, now.Add(-c.Mailboxes.JunkExpire))
				removed += n
				if counted.Messages > 0 && name != "Trash" { // what is there no quota counts
					counter := maildir.Counter{FS: durable.OS{}, Path: path} // whatever the quota, the others' count or ours goes on
					ferr = errors.Join(ferr, counter.Add(maildir.Usage{Messages: -counted.Messages, Octets: -counted.Octets}))
				}
			}
			err = errors.Join(err, ferr)
		}
		if removed > 0 || err != nil {
			e.log.MailboxExpired(a.String(), removed, err)
		}
	}
}
