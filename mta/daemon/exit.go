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

// ExitStatus is the status with which a process ends because of err; 0 for nil.
func ExitStatus(err error) int {
	var faults config.Errors
	var file *fs.PathError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults), errors.Is(err, ErrUnmatched):
		return ExitConfig
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOSPC):
		return ExitTempFail
	case errors.As(err, &file):
		return ExitIOError
	}
	return ExitOSError
}
