// Package packaging holds what distributions install: the lists for nfpm, the maintainer scripts, and the tests of units,
// users, folders and packages.
package packaging
