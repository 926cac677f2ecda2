package mtatest

import (
	"fmt"
	"os"
	"sync/atomic"
)

// given counts the addresses of OwnIP.
var given atomic.Uint32

// OwnIP is an address of the loopback network that nobody else uses, here or in another run of tests at the same time: between
// the choice of a port for another program and that program's start, and between two of its starts, nobody takes the port.
func OwnIP() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 192+pid>>8&31, pid&255, 1+given.Add(1)%254)
}
