package main

import (
	"encoding/json"
	"os"

	"github.com/posthouse-mail/posthouse/mta"
)

// publisher writes the queue's status for others to read, and the room in mailboxes. It is old soon: it need not outlast
// anything.
func publisher(path string, room func() map[string]int64) func(mta.QueueStatus) error {
	return func(st mta.QueueStatus) error {
		st.Room = room()
		b, err := json.Marshal(st)
		if err != nil {
			return err
		}
		fresh := path + ".new"
		if err := os.WriteFile(fresh, append(b, '\n'), 0o644); err != nil {
			return err
		}
		if err := os.Chmod(fresh, 0o644); err != nil { // whatever the umask: smtpd reads it
			return err
		}
		return os.Rename(fresh, path)
	}
}
