package mta

import "errors"

// ErrCredentials says that a login does not exist, is disabled, or was shown a wrong password; who asks is never told
// which. Any other error of a password check is a fault of ours, and the client may try again.
var ErrCredentials = errors.New("bad login or password")

// ErrUnknownUser says that there is no such mailbox. Any other error of a lookup is temporary.
var ErrUnknownUser = errors.New("no such user")
