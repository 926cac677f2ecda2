package mta

import "errors"

// ErrCredentials says that a login does not exist, is disabled, or was shown a wrong password; who asks is never told
// which. Any other error of a password check is a fault of ours, and the client may try again.
var ErrCredentials = errors.New("bad login or password")

// ErrUnknownUser says that there is no such mailbox. Any other error of a lookup is temporary.
var ErrUnknownUser = errors.New("no such user")

// ErrTransition says that a login is good for other mechanisms and not for this one: nothing that it could work with was
// kept of the password. RFC 4954 6 answers 432 4.7.12.
var ErrTransition = errors.New("login has no verifier for this mechanism")
