// Package filters measures what filters cost. The filters do nothing, and each is a process of its own: the benchmark's
// program, started by another name.
//
//	go test -run xxx -bench . ./contrib/bench/filters
//	go test -run xxx -bench Call -benchtime 20000x -cpuprofile cpu.out ./contrib/bench/filters
//
// BenchmarkAccept has the real server with a real spool, as contrib/bench/accept, with 0, 1 and 4 filters: at the message
// alone, at all stages, and with the message's file. BenchmarkCall holds a call by the host against one of bare go-plugin: the
// two take turns in one loop, so that whatever else the machine does meets both. added-p50-µs is the difference of the medians, which such
// things touch least. "sender" is one call; "message" has beside it what a message costs once, of which the greatest part is to
// find its fields; "more-filters" is what each of four further filters adds to the call that it is.
package filters
