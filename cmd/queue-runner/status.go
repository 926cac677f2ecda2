package main

import (
	"encoding/json"
	"os"

	"github.com/posthouse-mail/posthouse/mta"
)

// publisher writes the queue's status for others to read. It is old soon: it need not outlast anything.
func publisher(path string) func(mta.QueueStatus) error {
	return func(st mta.QueueStatus) error {
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
