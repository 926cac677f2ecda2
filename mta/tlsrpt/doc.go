// Package tlsrpt keeps what became of TLS with other hosts: it counts sessions by domain and policy, and sends each domain
// that asks for it a report of the day before, by mail or HTTPS (RFC 8460); and it remembers how well connections to a
// domain were protected, so that the log can tell when one is worse than it was. mta/remote says what happened;
// cmd/queue-runner joins them and calls Run.
//
// Counters are written to the disk every minute and at the end; the files of a day go away when its reports are sent.
// Reports are not signed here: whoever takes them from Mail puts them into the queue, and what leaves the queue is signed
// where this host signs its mail.
package tlsrpt
