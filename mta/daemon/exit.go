package daemon

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// Exit statuses, after sysexits.h.
const (
	ExitUsage    = 64 // the command line is wrong
	ExitOSError  = 71 // the system refuses something, a socket for instance
	ExitIOError  = 74 // a file cannot be read or written
	ExitTempFail = 75 // another attempt may succeed: the work is in other hands, or was broken off
	ExitConfig   = 78 // the configuration is wrong
)

// statusError is an error that has a status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// WithStatus gives an error the status with which the process is to end because of it.
func WithStatus(err error, status int) error { return &statusError{err, status} }

// ExitStatus is the status with which a process ends because of err; 0 for nil.
func ExitStatus(err error) int {
	var own *statusError
	var faults config.Errors
	var file *fs.PathError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &faults), errors.Is(err, ErrUnmatched):
		return ExitConfig
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOSPC):
		return ExitTempFail
	case errors.As(err, &file):
		return ExitIOError
	}
	return ExitOSError
}
