package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// moody is a Store that has answers only when it is in the mood.
type moody struct {
	verifying
	mu    sync.Mutex // guards the rest
	hangs bool
	fails error
	asked int
}

func (m *moody) User(ctx context.Context, address string) (directory.Row, error) {
	m.mu.Lock()
	m.asked++
	hangs, err := m.hangs, m.fails
	m.mu.Unlock()
	switch {
	case strings.HasPrefix(address, "never"):
		return nil, directory.ErrNotAsked
	case strings.HasPrefix(address, "quick"):
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	return directory.Row{}, nil
}

func (m *moody) Verify(ctx context.Context, _ directory.Row, password string) error {
	if password == "" {
		return fmt.Errorf("%w: %w", directory.ErrNotAsked, mta.ErrCredentials)
	}
	if _, err := m.User(ctx, "of a password"); err != nil {
		return err
	}
	return mta.ErrCredentials
}

func (m *moody) set(hangs bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangs, m.fails = hangs, err
}

func (m *moody) questions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func openMoody(t *testing.T, m *moody) (look func(local string) string, with *directory.Database, log *mtatest.Log) {
	t.Helper()
	log = &mtatest.Log{}
	d := directory.OpenDatabase("test", m, directory.Options{Log: maillog.New(maillog.NewText(log, slog.LevelInfo))})
	return func(local string) string {
		begin := time.Now()
		_, err := d.Lookup(context.Background(), mta.Address{Local: local, Domain: "here.test"})
		what := "found"
		switch {
		case errors.Is(err, directory.ErrAway):
			what = "away"
		case errors.Is(err, directory.ErrUnknown):
			what = "unknown"
		case err != nil:
			what = err.Error()
		}
		return fmt.Sprintf("%s after %s", what, time.Since(begin))
	}, d, log
}

func wantAll(t *testing.T, look func(string) string, want map[string]string) {
	t.Helper()
	for local, want := range want {
		if got := look(local); got != want {
			t.Errorf("%s: got %s, want %s", local, got, want)
		}
	}
}

func wantEvents(t *testing.T, log *mtatest.Log, away, back int) {
	t.Helper()
	if a, b := log.Count("users-away"), log.Count("users-back"); a != away || b != back {
		t.Errorf("users-away %d times and users-back %d times, want %d and %d:\n%s", a, b, away, back, log)
	}
}

// After some questions to a database that hangs nobody waits for it any more, and it is found again.
func TestADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		look, d, log := openMoody(t, m)
		wantAll(t, look, map[string]string{"alice": "found after 0s"})
		time.Sleep(time.Hour)
		m.set(true, nil)
		for range 3 {
			wantAll(t, look, map[string]string{"alice": "away after 5s"})
		}
		for range 100 {
			wantAll(t, look, map[string]string{"alice": "away after 0s", "never": "away after 0s"})
		}
		if _, err := d.With(directory.Options{}).Authenticate(context.Background(), "alice@here.test", "x"); !errors.Is(err, directory.ErrAway) {
			t.Errorf("with other options: %v", err)
		}
		synctest.Wait()
		if n := m.questions(); n != 5 {
			t.Errorf("it was asked %d times, want once before, three times without an answer, and by a probe", n)
		}
		wantEvents(t, log, 1, 0)
		m.set(false, nil)
		time.Sleep(7 * time.Second) // a probe's time, and the time between two
		wantEvents(t, log, 1, 1)
		wantAll(t, look, map[string]string{"alice": "found after 0s"})
		wantEvents(t, log, 1, 1)
	})
}

// Nothing goes on behind a Close, and who goes on asking still hears of answers.
func TestADatabaseThatHangsAndIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		look, d, log := openMoody(t, m)
		m.set(true, nil)
		for range 3 {
			wantAll(t, look, map[string]string{"alice": "away after 5s"})
		}
		wantAll(t, look, map[string]string{"alice": "away after 0s"})
		synctest.Wait() // the probe asks
		before, began := m.questions(), time.Now()
		d.With(directory.Options{}).Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("it waits %v for a probe whose answer nobody needs", took)
		}
		time.Sleep(time.Hour)
		if got := m.questions(); got != before {
			t.Errorf("it was asked %d times behind the Close", got-before)
		}
		for range 5 { // no probe would find it again
			wantAll(t, look, map[string]string{"alice": "away after 5s"})
		}
		m.set(false, nil)
		wantAll(t, look, map[string]string{"alice": "found after 0s"})
		wantEvents(t, log, 1, 1)
		d.Close() // again
		if got := m.questions(); got != before+6 {
			t.Errorf("it was asked %d times, want 6", got-before)
		}
	})
}

// Where others have answers nobody is refused one: it is slow, and not away.
func TestADatabaseThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		look, _, log := openMoody(t, m)
		m.set(true, nil)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { wantAll(t, look, map[string]string{"alice": "away after 5s"}) })
		}
		time.Sleep(4 * time.Second)
		wantAll(t, look, map[string]string{"quick": "found after 0s"})
		all.Wait()
		wantAll(t, look, map[string]string{"quick": "found after 0s"})
		wantEvents(t, log, 1, 1)
	})
}

// Probes end when nobody wants to know, and the next question is asked; it is the only one that waits.
func TestProbesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		look, _, log := openMoody(t, m)
		m.set(false, errors.New("refused"))
		for range 4 {
			wantAll(t, look, map[string]string{"alice": "away after 0s"})
		}
		time.Sleep(30 * time.Second)
		wantAll(t, look, map[string]string{"alice": "away after 0s"})
		time.Sleep(59 * time.Second)
		n := m.questions()
		time.Sleep(time.Hour)
		if more := m.questions() - n; more > 2 {
			t.Errorf("%d probes though nobody asks", more)
		}
		m.set(true, nil)
		wantAll(t, look, map[string]string{"alice": "away after 5s"})
		wantAll(t, look, map[string]string{"alice": "away after 0s"})
		wantEvents(t, log, 1, 0)
		time.Sleep(time.Hour)
		m.set(false, nil)
		wantAll(t, look, map[string]string{"alice": "found after 0s"})
		wantEvents(t, log, 1, 1)
	})
}

// That there can be no such user says nothing of the database.
func TestWhatNobodyNeedsToAsk(t *testing.T) {
	m := &moody{}
	look, d, log := openMoody(t, m)
	m.set(false, errors.New("refused"))
	if got := look("alice"); !strings.HasPrefix(got, "away") {
		t.Errorf("got %s", got)
	}
	if got := look("never"); !strings.HasPrefix(got, "unknown") {
		t.Errorf("got %s", got)
	}
	for password, want := range map[string]error{"": mta.ErrCredentials, "x": directory.ErrAway} {
		if _, err := d.Authenticate(context.Background(), "never@here.test", password); !errors.Is(err, want) {
			t.Errorf("password %q: got %v, want %v", password, err, want)
		}
	}
	wantEvents(t, log, 1, 0)
}
