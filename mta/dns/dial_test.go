package dns_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestDialGoesWhereTheResolverSaysAndNowhereElse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	z := mtatest.NewZone(t, "there.test. 60 IN A 127.0.0.1")
	r, err := dns.New(dns.Options{Servers: []string{z.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	public := func(a netip.Addr) bool { return !a.IsLoopback() }
	for _, c := range []struct {
		hostPort string
		allowed  func(netip.Addr) bool
		want     string // in the error; "" = it connects
	}{
		{"there.test:" + port, public, "there.test has the address 127.0.0.1, which is not allowed"},
		{"[::ffff:127.0.0.1]:" + port, public, "which is not allowed"},
		{"gone.test:" + port, nil, "gone.test"},
		{"there.test", nil, "missing port"},
		{"there.test:" + port, nil, ""},
		{"127.0.0.1:" + port, nil, ""},
	} {
		conn, err := r.Dial(t.Context(), "tcp", c.hostPort, false, c.allowed)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.hostPort, err, c.want)
		}
	}
}
