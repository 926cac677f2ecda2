// Package accept measures how smtpd takes mail: the real server on a loopback port with a real spool, in one process with
// its clients.
//
//	go test -run xxx -bench . ./contrib/bench/accept
//	go test -run xxx -bench 'Accept/10/4KB/plain' -benchtime 20000x -cpuprofile cpu.out ./contrib/bench/accept
//
// The numbers are of server and clients together; cpu-ms/msg is the processor time of both. The spool is under TMPDIR, and
// nothing takes messages out of it: 1 MB messages need the room.
package accept
