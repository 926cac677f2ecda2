// Package e2e holds the tests of the whole system: each starts the real programs on a private instance under a temporary
// folder, speaks SMTP and POP3 with them (by its own clients and by mail programs that others wrote), and kills them,
// fills their disk and damages their files. It has no code of its own beside its tests.
//
// What a mail program or the machine lacks skips a test; with CI=true in the environment it fails it.
// POSTHOUSE_CRASH=full makes the crash test a long one, POSTHOUSE_SLOW=1 waits for the timeouts that take minutes.
//
// Before a release: make downgrade FROM=REVISION for the one before, and make version-data AS=VERSION, whose archive in
// testdata/versions every later version has to take up.
package e2e
