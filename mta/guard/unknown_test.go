package guard_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
)

func TestUnknownRecipientsCostAClientEverMoreTime(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	d := guard.NewUnknownDelay(c.now)
	var got []time.Duration
	for range 14 {
		got = append(got, d.Unknown(addr("192.0.2.1"))/time.Second)
	}
	if want := []time.Duration{0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30}; !slices.Equal(got, want) {
		t.Errorf("got %d seconds, want %d", got, want)
	}
	if got := d.Unknown(addr("192.0.2.2")); got != 0 {
		t.Errorf("another client: got %v, want 0", got)
	}
	if got := d.Unknown(netip.Addr{}); got != 0 {
		t.Errorf("no client of the network: got %v, want 0", got)
	}
	c.t = c.t.Add(10 * time.Minute) // 14, halved twice, and one more
	if got := d.Unknown(addr("192.0.2.1")); got != 0 {
		t.Errorf("after ten minutes: got %v, want 0", got)
	}
}
