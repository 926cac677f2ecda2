// Package lab has only tests. They put queue-runner into a network of its own, with a signed zone (knot), a validating
// resolver (unbound) and mail servers that keep or break what their domains promise, and look where the mail goes. `make
// lab` runs them, as root: they make network namespaces, and nothing leaves those.
package lab
