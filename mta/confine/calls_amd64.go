package confine

import "golang.org/x/sys/unix"

const (
	machine      = unix.AUDIT_ARCH_X86_64
	firstForeign = 0x40000000 // the calls of x32 have other numbers
)

var deniedHere = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
