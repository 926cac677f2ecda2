package guard_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/redis"
)

// patience bounds what should be there at once.
const patience = time.Minute

// journal is a log to look into.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) count(event string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), "event="+event)
}

func openShared(t *testing.T, url string, each time.Duration, c *clock) (*guard.Shared, *journal) {
	t.Helper()
	j := &journal{}
	s, err := guard.OpenSharedFor(url, each, maillog.New(maillog.NewText(j, slog.LevelDebug)), c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, j
}

// store is a real Redis, and a client of the test's own to look into it.
func store(t *testing.T) (url string, db *redis.Pool) {
	t.Helper()
	url, _ = mtatest.StartRedis(t)
	db, err := redis.Open(url, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return url, db
}

func TestHostsCountMessagesTogether(t *testing.T) {
	url, db := store(t)
	hosts := make([]*guard.Rates, 2)
	for i := range hosts {
		hosts[i], _ = newRates(guard.RateLimits{MessagesPerClient: guard.Rate{N: 3, Per: time.Hour}, MessagesPerLogin: guard.Rate{N: 2, Per: 24 * time.Hour}, RecipientsPerLogin: guard.Rate{N: 4, Per: time.Hour}})
		s, _ := openShared(t, url, patience, &clock{time.Unix(1_800_000_000, 0)})
		hosts[i].Share(s)
	}
	one, two := hosts[0], hosts[1]
	client := addr("192.0.2.1")
	for i, step := range []struct {
		do  func() time.Duration
		max time.Duration // how long to wait; the real time that has passed shortens it
	}{
		{func() time.Duration { return one.Message(client, "") }, 0},
		{func() time.Duration { return two.Message(client, "") }, 0},
		{func() time.Duration { return one.Message(client, "") }, 0},
		{func() time.Duration { return two.Message(client, "") }, 20 * time.Minute},
		{func() time.Duration { return one.Message(client, "") }, 20 * time.Minute}, // what is refused does not count
		{func() time.Duration { return two.Message(addr("192.0.2.2"), "") }, 0},
		{func() time.Duration { return one.Message(client, "alice") }, 0},
		{func() time.Duration { return two.Message(client, "ALICE") }, 0},
		{func() time.Duration { return one.Message(client, "alice") }, 12 * time.Hour},
		{func() time.Duration { return two.Message(client, "bob") }, 0},
		{func() time.Duration { return two.Recipient("alice") }, 0},
	} {
		got := step.do()
		if got > step.max || got < step.max-10*time.Minute {
			t.Errorf("step %d: got %v, want %v or a little less", i, got, step.max)
		}
	}
	list, err := db.Do(t.Context(), "KEYS", "*")
	keys, ok := list.([]any)
	if err != nil || !ok || len(keys) != 5 {
		t.Errorf("got the keys %q, %v; want five", list, err)
	}
	for _, key := range keys {
		k := string(key.([]byte))
		if left, err := db.Do(t.Context(), "TTL", k); err != nil || left.(int64) <= 0 || left.(int64) > 24*3600 {
			t.Errorf("%s is kept for %v seconds, %v", k, left, err)
		}
		if strings.Contains(k, "alice") || strings.Contains(k, "192.0.2") {
			t.Errorf("%s shows whose it is", k)
		}
	}
	one.Share(nil)
	if got := one.Message(client, ""); got != 0 {
		t.Errorf("for itself again: got %v, want 0", got)
	}
}

func TestHostsSlowDownTogetherWhoGuesses(t *testing.T) {
	url, db := store(t)
	hosts := make([]*guard.LoginDelay, 2)
	for i := range hosts {
		hosts[i], _ = newDelay()
		s, _ := openShared(t, url, patience, &clock{time.Unix(1_800_000_000, 0)})
		hosts[i].Share(s)
	}
	one, two := hosts[0], hosts[1]
	robot, owner := addr("192.0.2.1"), addr("192.0.2.2")
	two.Succeeded(owner, "Alice")
	for i := range 10 {
		hosts[i%2].Failed(robot, "alice")
	}
	for _, c := range []struct {
		host   *guard.LoginDelay
		client netip.Addr
		login  string
		want   time.Duration
	}{
		{one, robot, "carol", 30 * time.Second},
		{two, robot, "carol", 30 * time.Second},
		{one, addr("192.0.2.3"), "ALICE", 8 * time.Second},
		{two, owner, "alice", 0}, // it has been here before
		{one, owner, "alice", 8 * time.Second},
		{one, owner, "carol", 0},
		{two, netip.Addr{}, "carol", 0},
		{two, netip.Addr{}, "alice", 8 * time.Second},
	} {
		if got := c.host.Delay(c.client, c.login); got != c.want {
			t.Errorf("%v %s: got %v, want %v", c.client, c.login, got, c.want)
		}
	}
	one.Succeeded(robot, "mallory") // one good account buys no free guesses
	if got := two.Delay(robot, "carol"); got != 30*time.Second {
		t.Errorf("after a success of its own: got %v, want 30s", got)
	}
	one.Failed(owner, "bob")
	if got := two.Delay(owner, "carol"); got != time.Second {
		t.Errorf("one slip on the other host: got %v, want 1s", got)
	}
	one.Succeeded(owner, "bob")
	if got := two.Delay(owner, "carol"); got != 0 {
		t.Errorf("one slip and a success: got %v, want 0", got)
	}
	// What is there halves each five minutes, by the clock of the store; what is none of ours counts for nothing.
	clock, err := db.Do(t.Context(), "TIME")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseInt(string(clock.([]any)[0].([]byte)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(seconds, 0)
	for value, want := range map[string]time.Duration{
		fmt.Sprintf("8 %d", now.Add(-11*time.Minute).UnixMilli()): 2 * time.Second, fmt.Sprintf("8 %d", now.Add(-time.Hour).UnixMilli()): 0,
		fmt.Sprintf("999999999 %d", now.UnixMilli()): 30 * time.Second, fmt.Sprintf("4 %d", now.Add(time.Hour).UnixMilli()): 8 * time.Second,
		"odd": 0, "": 0, "3": 0, "-3 5": 0,
	} {
		if _, err := db.Do(t.Context(), "SET", guard.SharedKey("client", "192.0.2.9/32"), value); err != nil {
			t.Fatal(err)
		}
		if got := one.Delay(addr("192.0.2.9"), "carol"); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestEachHostCountsForItselfWhileTheStoreIsAway(t *testing.T) {
	url, _ := store(t)
	password, socket, _ := strings.Cut(url, "@")
	dir, err := os.MkdirTemp("", "away")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	link := filepath.Join(dir, "s")
	c := &clock{time.Unix(1_800_000_000, 0)}
	s, j := openShared(t, password+"@"+link, patience, c)
	r, _ := newRates(guard.RateLimits{MessagesPerClient: guard.Rate{N: 1, Per: time.Hour}})
	d, _ := newDelay()
	r.Share(s)
	d.Share(s)
	client := addr("192.0.2.1")
	if first, second := r.Message(client, ""), r.Message(client, ""); first != 0 || second != time.Hour {
		t.Errorf("away: got %v and %v, want 0 and 1h", first, second)
	}
	if got := d.Failed(client, "alice"); got != time.Second {
		t.Errorf("away: got %v, want 1s", got)
	}
	if !s.Away() || j.count("shared-away") != 1 {
		t.Errorf("away %v, %d lines; want one", s.Away(), j.count("shared-away"))
	}
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	if got := r.Message(client, ""); got == 0 {
		t.Error("the store was asked again at once")
	}
	c.t = c.t.Add(6 * time.Second)
	if got := r.Message(client, ""); got != 0 {
		t.Errorf("back, where nothing was counted: got %v, want 0", got)
	}
	if got := r.Message(client, ""); got == 0 {
		t.Error("back: the second is not counted")
	}
	if s.Away() || j.count("shared-away") != 1 || j.count("shared-back") != 1 {
		t.Errorf("back: away %v, %d lines; want one of each", s.Away(), j.count("shared-"))
	}
}

// TestAStoreThatHangsHoldsFewUp: of many who ask for the second time one waits.
func TestAStoreThatHangsHoldsFewUp(t *testing.T) {
	dir, err := os.MkdirTemp("", "hang")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int32
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			defer nc.Close()
		}
	}()
	c := &clock{time.Unix(1_800_000_000, 0)}
	s, j := openShared(t, "unix://"+l.Addr().String(), time.Second, c)
	r, _ := newRates(guard.RateLimits{MessagesPerClient: guard.Rate{N: 1000, Per: time.Hour}})
	r.Share(s)
	if got := r.Message(addr("192.0.2.1"), ""); got != 0 || !s.Away() {
		t.Fatalf("got %v, away %v; want 0 and away", got, s.Away())
	}
	want := func(n int32) { // what is asked has connected at once, and is accepted when there is time
		t.Helper()
		for end := time.Now().Add(patience); asked.Load() < n && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		if got := asked.Load(); got != n {
			t.Errorf("it was asked %d times, want %d", got, n)
		}
	}
	for range 100 {
		r.Message(addr("192.0.2.1"), "")
	}
	want(1)
	c.t = c.t.Add(6 * time.Second)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { r.Message(addr("192.0.2.1"), "") })
	}
	all.Wait()
	want(2)
	if j.count("shared-away") != 1 {
		t.Errorf("got %d lines, want one", j.count("shared-away"))
	}
}

func TestABadURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"", "http://user:hunter2@host", "redis://user:hunter2@host:port/0", "redis://user:hunter2@host/zero"} {
		if _, err := guard.OpenShared(url, nil, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error without the password", url, err)
		}
	}
}
