package guard_test

import (
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/guard"
)

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func TestOneClientIsAnIPv4AddressOrAnIPv6Slash64(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1/32"},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:1::/64"},
		{"fe80::1%eth0", "fe80::2%eth1", "fe80::/64"},
	} {
		a, b := guard.Client(addr(c.a)), guard.Client(addr(c.b))
		if a.String() != c.want || a != b {
			t.Errorf("%s and %s: got %s and %s, want %s", c.a, c.b, a, b, c.want)
		}
	}
	if guard.Client(addr("192.0.2.1")) == guard.Client(addr("192.0.2.2")) {
		t.Error("two IPv4 addresses are one client")
	}
	if guard.Client(netip.Addr{}).IsValid() {
		t.Error("the zero address is a client")
	}
}

func TestConnectionsAreBoundedInAllAndForAClient(t *testing.T) {
	c := guard.NewConns(4, 2)
	var releases []func()
	for i, step := range []struct {
		peer string
		want error
	}{
		{"192.0.2.1", nil},
		{"::ffff:192.0.2.1", nil},
		{"192.0.2.1", guard.ErrClient},
		{"2001:db8::1", nil},
		{"", nil},
		{"192.0.2.9", guard.ErrTotal},
		{"", guard.ErrTotal},
	} {
		release, err := c.Admit(addr(step.peer))
		if !errors.Is(err, step.want) || (err == nil) != (release != nil) {
			t.Errorf("step %d: %s: got error %v, want %v", i, step.peer, err, step.want)
		}
		if err == nil {
			releases = append(releases, release)
		}
	}
	releases[0]()
	releases[0]() // a second call frees no second place
	if _, err := c.Admit(addr("192.0.2.1")); err != nil {
		t.Errorf("after a release: got error %v", err)
	}
	if _, err := c.Admit(addr("192.0.2.2")); !errors.Is(err, guard.ErrTotal) {
		t.Errorf("after one release and one admission: got error %v, want ErrTotal", err)
	}
}

func TestZeroIsNoBoundAndNothingIsLeftBehind(t *testing.T) {
	c := guard.NewConns(0, 0)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			release, err := c.Admit(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 7)}))
			if err != nil {
				t.Error(err)
				return
			}
			release()
		})
	}
	all.Wait()
	if c.Total() != 0 || c.Clients() != 0 {
		t.Errorf("got %d connections of %d clients left, want none", c.Total(), c.Clients())
	}
}
