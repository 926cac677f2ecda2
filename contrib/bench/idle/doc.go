// Package idle measures what a connection to smtpd costs: resident memory of the real program. Its benchmarks take no part
// in the tests:
//
//	go test -run '^$' -bench . -benchtime 1x ./contrib/bench/idle
package idle
