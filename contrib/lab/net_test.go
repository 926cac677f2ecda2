package lab_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Addresses. The sender is alone on its side; all others are addresses of the world. What is routed to silent gets no answer.
const (
	senderAddr = "192.0.2.2"
	dnsAddr    = "192.0.2.53"
	webAddr    = "192.0.2.80"
	silentAddr = "203.0.113.1"
	sixAddr    = "2001:db8::25"
)

// namespace is a network namespace.
type namespace string

func newNamespace(t *testing.T, name string) namespace {
	t.Helper()
	n := namespace(fmt.Sprintf("phlab-%d-%s", os.Getpid(), name))
	run(t, "ip", "netns", "add", string(n))
	t.Cleanup(func() { run(t, "ip", "netns", "del", string(n)) })
	n.ip(t, "link set lo up")
	return n
}

func (n namespace) ip(t *testing.T, args string) {
	t.Helper()
	run(t, "ip", append([]string{"-n", string(n)}, strings.Fields(args)...)...)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// listen opens a socket in the namespace; it stays there whoever serves it.
func (n namespace) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + string(n))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	l, lerr := net.Listen("tcp", addr)
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err) // the thread, still locked, ends with the goroutine
	}
	runtime.UnlockOSThread()
	if lerr != nil {
		t.Fatal(lerr)
	}
	return l
}

// connect makes the two sides and the link between them.
func connect(t *testing.T, addrs []string) (sender, world namespace) {
	t.Helper()
	sender, world = newNamespace(t, "sender"), newNamespace(t, "world")
	sender.ip(t, "link add name eth0 type veth peer name eth1 netns "+string(world))
	sender.ip(t, "addr add "+senderAddr+"/24 dev eth0")
	sender.ip(t, "addr add 2001:db8::2/64 dev eth0 nodad")
	world.ip(t, "addr add 192.0.2.1/24 dev eth1")
	for _, a := range addrs {
		if strings.Contains(a, ":") {
			world.ip(t, "addr add "+a+"/64 dev eth1 nodad")
		} else {
			world.ip(t, "addr add "+a+"/24 dev eth1")
		}
	}
	world.ip(t, "route add blackhole 203.0.113.0/24")
	world.ip(t, "link set eth1 up")
	sender.ip(t, "link set eth0 up")
	sender.ip(t, "route add default via 192.0.2.1")
	return sender, world
}
