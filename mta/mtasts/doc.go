// Package mtasts finds the MTA-STS policy of a domain (RFC 8461): the TXT record that tells its id, the policy itself over
// HTTPS, and the files that keep it, so that somebody who can suppress the record or the policy does not get rid of it.
// mta/remote asks it for each destination; cmd/queue-runner joins them and calls Run. What the operator should know goes
// to the log.
//
// It is our own because what is read is little: four keys and a pattern of host names, from whoever owns a domain. What
// is fetched is bounded in size and time, by no other way than the well-known URL of the domain, without redirects.
package mtasts
