// Package runner decides when what is tried: it is queue-runner's schedule, with retry, expiry, limits and the sending of
// reports. It knows no protocol; where a message goes and how it gets there is behind the small interfaces in runner.go.
// cmd/queue-runner is its only caller.
//
// One goroutine owns the schedule (schedule.go). It selects over shutdown, trigger, timer and results, never waits for a
// disk or a network, and starts workers, whose number is bounded. A worker gets values, writes what became of each
// recipient into the spool, and hands back a tally: when to try again, whether a report is due, which messages are new.
//
// The life of a message here is a row of rounds. A round is one visit (visit.go: read the message, ask the router for
// each recipient that is due, deliver to mailboxes, expand aliases), the remote transactions that came out of it
// (transact.go), and the settling (settle.go: report what failed, spill what has to wait). Memory is bounded: a message
// that waits is a few words in a heap; contents are held by running workers and by a short list of new arrivals alone.
//
// Transactions wait at their sites (sites.go): a site is a set of hosts, whichever domains they serve, whose name Remote
// looks up while nothing else waits for it. A site has a window (window.go), a queue in which flows take turns (fair.go),
// and is dead or alive (site.go); these three are plain values without clock, lock or goroutine. Where it is dead or its
// queue is full, an item rests in the heap with a place at the site besides, and comes back when it is due or when the
// site fetches it, whichever is first. An item is in exactly one of: the list of fresh ones, a worker's hands, a round
// (its groups in lookups, queues, workers, or turned away), the tasks, the heap.
//
// Deliveries to mailboxes have workers of their own and never wait for remote ones. No delivery begins while the spool
// cannot make results last. RFC 5321 4.5.4 (retry) and 6.1 (reports, null sender), RFC 3461 5.2 (NOTIFY), RFC 3463 (codes).
package runner
