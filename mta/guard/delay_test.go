package guard_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newDelay() (*guard.LoginDelay, *clock) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	return guard.NewLoginDelay(c.now), c
}

func TestDelayOfAClientGrowsWithFailuresToItsBoundAndDecays(t *testing.T) {
	d, c := newDelay()
	client := addr("192.0.2.1")
	if got := d.Delay(client, "alice"); got != 0 {
		t.Errorf("before any failure: got %v, want 0", got)
	}
	var got []time.Duration
	for i := range 8 {
		wait := d.Failed(client, fmt.Sprint("user", i))
		if now := d.Delay(client, "another"); now != wait {
			t.Errorf("failure %d: Failed says %v, Delay %v", i, wait, now)
		}
		got = append(got, wait/time.Second)
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 30, 30, 30}; !slices.Equal(got, want) {
		t.Errorf("got %d seconds, want %d", got, want)
	}
	if got := d.Delay(addr("192.0.2.2"), "another"); got != 0 {
		t.Errorf("another client: got %v, want 0", got)
	}
	c.t = c.t.Add(10 * time.Minute) // 8 failures, halved twice
	if got := d.Delay(client, "another"); got != 2*time.Second {
		t.Errorf("after ten minutes: got %v, want 2s", got)
	}
	c.t = c.t.Add(time.Hour)
	if got := d.Delay(client, "another"); got != 0 {
		t.Errorf("after an hour more: got %v, want 0", got)
	}
}

func TestLoginThatManyClientsTryIsSlowedButNotForItsOwner(t *testing.T) {
	d, _ := newDelay()
	owner := addr("192.0.2.200")
	d.Succeeded(owner, "alice@example.org")
	for i := range 100 {
		d.Failed(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), "Alice@example.org")
	}
	if got := d.Delay(addr("203.0.113.1"), "alice@example.org"); got != 8*time.Second {
		t.Errorf("a new client: got %v, want 8s", got)
	}
	if got := d.Delay(owner, "alice@example.org"); got != 0 {
		t.Errorf("the owner's client: got %v, want 0", got)
	}
	if got := d.Delay(addr("203.0.113.1"), "bob@example.org"); got != 0 {
		t.Errorf("another login: got %v, want 0", got)
	}
}

func TestOneGoodAccountBuysNoFreeGuesses(t *testing.T) {
	d, _ := newDelay()
	typo, robot := addr("192.0.2.1"), addr("192.0.2.2")
	d.Failed(typo, "alice")
	d.Succeeded(typo, "alice")
	if got := d.Delay(typo, "alice"); got != 0 {
		t.Errorf("after one slip and a success: got %v, want 0", got)
	}
	for i := range 10 {
		d.Failed(robot, fmt.Sprint("user", i))
	}
	d.Succeeded(robot, "mallory")
	if got := d.Delay(robot, "user1"); got != 30*time.Second {
		t.Errorf("after ten failures and a success of its own: got %v, want 30s", got)
	}
}

func TestPeersWithoutAnAddressAreSlowedByLoginOnly(t *testing.T) {
	d, _ := newDelay()
	for range 6 {
		d.Failed(netip.Addr{}, "alice")
	}
	if got := d.Delay(netip.Addr{}, "bob"); got != 0 {
		t.Errorf("another login: got %v, want 0", got)
	}
	if got := d.Delay(netip.Addr{}, "alice"); got != time.Second {
		t.Errorf("the same login: got %v, want 1s", got)
	}
}

func TestMemoryOfFailuresIsBoundedAndTheWorstStay(t *testing.T) {
	d, _ := newDelay()
	worst := addr("192.0.2.1")
	for range 16 {
		d.Failed(worst, "victim")
	}
	for i := range 70_000 {
		client := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		d.Failed(client, fmt.Sprint(i))
		d.Succeeded(client, fmt.Sprint("a", i))
		d.Failed(client, fmt.Sprint(i))
	}
	clients, logins, friends, bound := d.Remembered()
	if clients > bound || logins > bound || friends > bound || clients < bound/2 {
		t.Errorf("got %d clients, %d logins, %d friends; want up to %d", clients, logins, friends, bound)
	}
	if got := d.Delay(worst, "x"); got != 30*time.Second {
		t.Errorf("the client that failed most: got %v, want 30s", got)
	}
}
