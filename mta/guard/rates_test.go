package guard_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
)

func newRates(l guard.RateLimits) (*guard.Rates, *clock) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	r := guard.NewRates(c.now)
	r.SetLimits(l)
	return r, c
}

var limits = guard.RateLimits{
	MessagesPerClient: guard.Rate{N: 2, Per: time.Minute}, MessagesPerLogin: guard.Rate{N: 3, Per: time.Hour},
	RecipientsPerLogin: guard.Rate{N: 4, Per: 24 * time.Hour},
}

func TestMessagesOfAClientAndOfALoginAreLimited(t *testing.T) {
	r, c := newRates(limits)
	one, two := addr("192.0.2.1"), addr("192.0.2.2")
	for i, step := range []struct {
		after time.Duration
		do    func() time.Duration
		want  time.Duration
	}{
		{0, func() time.Duration { return r.Message(one, "") }, 0},
		{0, func() time.Duration { return r.Message(one, "") }, 0},
		{0, func() time.Duration { return r.Message(one, "") }, 30 * time.Second},
		{10 * time.Second, func() time.Duration { return r.Message(one, "") }, 20 * time.Second},
		{0, func() time.Duration { return r.Message(two, "") }, 0},
		{0, func() time.Duration { return r.Message(one, "alice") }, 0}, // a login has its own
		{20 * time.Second, func() time.Duration { return r.Message(one, "") }, 0},
		{0, func() time.Duration { return r.Message(one, "") }, 30 * time.Second},
		{0, func() time.Duration { return r.Message(two, "ALICE") }, 0}, // from anywhere
		{0, func() time.Duration { return r.Message(two, "alice") }, 0},
		{0, func() time.Duration { return r.Message(two, "alice") }, 19*time.Minute + 40*time.Second},
		{0, func() time.Duration { return r.Message(two, "bob") }, 0},
		{time.Hour, func() time.Duration { return r.Message(one, "") }, 0}, // no more than two saved up
		{0, func() time.Duration { return r.Message(one, "") }, 0},
		{0, func() time.Duration { return r.Message(one, "") }, 30 * time.Second},
		{0, func() time.Duration { return r.Recipient("alice") }, 0},
		{0, func() time.Duration { return r.Recipient("alice") }, 0},
		{0, func() time.Duration { return r.Recipient("alice") }, 0},
		{0, func() time.Duration { return r.Recipient("alice") }, 0},
		{0, func() time.Duration { return r.Recipient("alice") }, 6 * time.Hour},
	} {
		c.t = c.t.Add(step.after)
		if got := step.do(); got != step.want {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
	r.SetLimits(guard.RateLimits{})
	if got := r.Message(one, "") + r.Message(one, "alice") + r.Recipient("alice"); got != 0 {
		t.Errorf("without limits: got %v, want 0", got)
	}
}

func TestRatesOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rates.json")
	r, c := newRates(limits)
	if err := r.Load(path); err != nil {
		t.Errorf("without a file: %v", err)
	}
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a file though nothing was counted: %v", err)
	}
	for range 4 {
		r.Recipient("alice")
	}
	r.Message(addr("192.0.2.1"), "")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("got %v, %v; want mode 0600", st.Mode(), err)
	}
	again := guard.NewRates(c.now)
	again.SetLimits(limits)
	c.t = c.t.Add(2 * time.Hour)
	if err := again.Load(path); err != nil {
		t.Fatal(err)
	}
	if got := again.Recipient("alice"); got != 4*time.Hour {
		t.Errorf("after a restart: got %v, want 4h", got)
	}
	if got := again.Buckets(); got != 1 {
		t.Errorf("got %d buckets, want the one that is not full", got)
	}
}

func TestStateThatCannotBeReadIsTold(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "torn": `{"v":1,"full":{"a`, "newer": `{"v":2}`, "other": "[]", "huge": "{\"v\":1,\"full\":{\"" + strings.Repeat("x", 1<<20)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, _ := newRates(limits)
		if err := r.Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
		if got := r.Recipient("alice"); got != 0 {
			t.Errorf("%s: got %v, want a full bucket", name, got)
		}
	}
	r, _ := newRates(limits)
	r.Recipient("alice")
	if err := r.Save(filepath.Join(dir, "no", "such", "folder")); err == nil {
		t.Error("saved into nowhere")
	}
	if err := r.Save(filepath.Join(dir, "later")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "later")); err != nil {
		t.Errorf("what could not be saved is not saved later: %v", err)
	}
}

func TestMemoryOfRatesIsBoundedAndTheEmptiestStay(t *testing.T) {
	r, _ := newRates(limits)
	for range 4 {
		r.Recipient("spammer")
	}
	for i := range 1<<16 + 5000 {
		r.Message(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "")
	}
	if got := r.Buckets(); got != 1<<16 {
		t.Errorf("got %d buckets, want %d", got, 1<<16)
	}
	if got := r.Recipient("spammer"); got != 6*time.Hour {
		t.Errorf("the one with the longest wait: got %v, want 6h", got)
	}
	if got := r.Message(addr("192.0.2.1"), strings.Repeat("x", 10_000)); got != 0 {
		t.Errorf("a login that nobody can have: got %v", got)
	}
	if got := r.Buckets(); got != 1<<16 {
		t.Errorf("got %d buckets, want no more", got)
	}
}

// TestNobodyWaitsLongerThanALimitHasHim: a clock that was ahead, or a limit over a longer time, must not shut anybody out
// until then.
func TestNobodyWaitsLongerThanALimitHasHim(t *testing.T) {
	r, c := newRates(limits)
	one := addr("192.0.2.1")
	c.t = c.t.AddDate(10, 0, 0)
	if d := r.Message(one, ""); d != 0 {
		t.Fatalf("the first message: got %v to wait", d)
	}
	c.t = c.t.AddDate(-10, 0, 0)
	for _, step := range []struct{ after, want time.Duration }{
		{0, 30 * time.Second}, {30 * time.Second, 0}, {0, 30 * time.Second}, {time.Minute, 0}, {0, 0}, {0, 30 * time.Second},
	} {
		c.t = c.t.Add(step.after)
		if got := r.Message(one, ""); got != step.want {
			t.Errorf("after %v: got %v, want %v", step.after, got, step.want)
		}
	}
}
