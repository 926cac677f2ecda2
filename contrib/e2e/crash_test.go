package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const (
	crashSessions = 20
	// settledAfter is how long a runner needs at most to write down what it has delivered: checkpoints come every second, where
	// the machine lets it.
	settledAfter = 30 * time.Second
)

// crash is the state of the crash test.
type crash struct {
	i                *instance
	messages         int
	sent, acked      atomic.Int64
	next             atomic.Int64
	mu               sync.Mutex // guards what follows
	fate             map[string]fate
	outages          []outage
	up               chan struct{} // closed while smtpd takes mail
	addressed        map[string][]string
	taken            map[string]map[string][]removal // by the readers: mailbox, token
	recorded         map[string]bool                 // ids that the journal calls finished, or did
	runner, receiver *mtatest.Program
}

// outage is the time from a kill of queue-runner until the next one was ready.
type outage struct{ killed, ready time.Time }

// removal is a message that a reader fetched and deleted.
type removal struct {
	at       time.Time // before QUIT
	recorded bool      // the journal said before QUIT that the message is finished: it may never come again
}

// fate is what a sender knows of a message.
type fate int

const (
	unknown  fate = iota // the reply was lost
	accepted             // 250
	never                // refused, or cut off before its end
)

var crashUsers = []string{"u0", "u1", "u2", "aged", "greedy"}

func TestNothingIsLostOrDoubledByCrashes(t *testing.T) {
	messages, kills := 500, 6
	if os.Getenv("POSTHOUSE_CRASH") == "full" {
		messages, kills = 5000, 30
	}
	i := start(t, options{users: crashUsers, more: "[smtpd]\nmax_per_client = 200\n[queue]\nretry_first = \"1s\"\n"})
	c := &crash{i: i, messages: messages, fate: map[string]fate{}, addressed: map[string][]string{}, taken: map[string]map[string][]removal{}, recorded: map[string]bool{},
		up: make(chan struct{}), runner: i.queue, receiver: i.smtpd}
	close(c.up)
	for _, u := range crashUsers {
		c.taken[u] = map[string][]removal{}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var senders, others sync.WaitGroup
	for n := range crashSessions {
		senders.Go(func() { c.sender(t, n) })
	}
	others.Go(func() { c.reader(ctx, t, "aged") })
	others.Go(func() { c.reader(ctx, t, "greedy") })
	var killers sync.WaitGroup
	killers.Go(func() { c.killReceivers(t, kills) })
	killers.Go(func() { c.killRunners(t, kills) })
	senders.Wait()
	killers.Wait()
	i.smtpd, i.queue = c.receiver, c.runner
	i.smtpd.Terminate(t)
	mtatest.Eventually(t, func() error { return c.missing() })
	cancel()
	others.Wait()
	// Whatever another start would deliver again comes now.
	i.queue.Terminate(t)
	i.restart(&i.queue)
	mtatest.Eventually(t, func() error { return c.reclaimed() })
	i.stop()
	i.wantSound()
	c.judge(t)
	t.Logf("contents that wait for the sweep: %s", c.leftovers(t))
}

// token names a message in its own content, whatever becomes of its id.
var tokenLine = regexp.MustCompile(`(?m)^X-Token: (\S+)\r?$`)

// sender sends messages until all are accepted that the test wants.
func (c *crash) sender(t *testing.T, n int) {
	var conn *smtpConn
	defer func() {
		if conn != nil {
			conn.close()
		}
	}()
	for t.Context().Err() == nil {
		if c.acked.Load() >= int64(c.messages) {
			return
		}
		if conn == nil {
			if conn = c.connect(t); conn == nil {
				return
			}
		}
		number := c.next.Add(1)
		token := fmt.Sprintf("%d-%d", n, number)
		users := []string{crashUsers[rand.IntN(len(crashUsers))]}
		if rand.IntN(5) == 0 {
			users = crashUsers
		}
		size := rand.IntN(4000)
		if rand.IntN(25) == 0 {
			size = 300_000 // a file of its own
		}
		content := fmt.Sprintf("X-Token: %s\r\nSubject: message %d\r\n\r\n%s\r\n.\r\nend of %s\r\n", token, number, strings.Repeat("text\r\n", size/6), token)
		var to []string
		for _, u := range users {
			to = append(to, c.i.address(u))
		}
		_, sent, err := conn.send([]byte(content), "sender@away.test", to...)
		f := accepted
		var reply *replyError
		switch {
		case err == nil:
			c.acked.Add(1)
		case !sent || errors.As(err, &reply):
			f = never
		default:
			f = unknown
		}
		c.mu.Lock()
		c.fate[token], c.addressed[token] = f, users
		c.mu.Unlock()
		c.sent.Add(1)
		if err != nil {
			conn.close()
			conn = nil
		}
	}
}

// connect waits for a smtpd that takes mail.
func (c *crash) connect(t *testing.T) *smtpConn {
	late := time.After(mtatest.Patience)
	for {
		c.mu.Lock()
		up := c.up
		c.mu.Unlock()
		select {
		case <-up:
		case <-late:
			t.Error("smtpd is down")
			return nil
		}
		conn, err := dialSMTP(c.i.mx)
		if err != nil {
			continue
		}
		if _, err := conn.cmd("250", "EHLO client.test"); err == nil {
			return conn
		}
		conn.close()
	}
}

// killReceivers kills smtpd once in each part of the traffic, at a moment that chance picks.
func (c *crash) killReceivers(t *testing.T, kills int) {
	for n := range kills {
		c.reach(t, n, kills, rand.Float64())
		c.killReceiver(t)
	}
}

// killRunners does so with queue-runner.
func (c *crash) killRunners(t *testing.T, kills int) {
	for n := range kills {
		c.reach(t, n, kills, rand.Float64())
		c.killRunner(t)
	}
}

// share is how many messages have been accepted in a part of the n-th of so many slices.
func (c *crash) share(n, slices int, part float64) int64 {
	return int64((float64(n) + part) / float64(slices) * float64(c.messages))
}

// reach waits for the traffic, and a moment more.
func (c *crash) reach(t *testing.T, n, slices int, part float64) {
	at := c.share(n, slices, part)
	c.until(t, func() bool { return c.acked.Load() >= at })
	select {
	case <-time.After(rand.N(30 * time.Millisecond)):
	case <-t.Context().Done():
	}
}

// until waits for the other parts of the test.
func (c *crash) until(t *testing.T, ok func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(mtatest.Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		case <-late:
			t.Error("the test does not go on")
			return
		}
	}
}

func (c *crash) killReceiver(t *testing.T) {
	c.mu.Lock()
	c.up = make(chan struct{})
	c.mu.Unlock()
	c.receiver.Kill()
	d := c.i.launch("smtpd")
	if _, err := d.Search(0, "event=ready", mtatest.Patience); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiver = d
	close(c.up)
}

func (c *crash) killRunner(t *testing.T) {
	c.runner.Kill()
	killed := time.Now()
	d := c.i.launch("queue-runner")
	if _, err := d.Search(0, "event=ready", mtatest.Patience); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runner = d
	c.outages = append(c.outages, outage{killed, time.Now()})
}

// reader fetches and deletes over POP3 until ctx ends: for "greedy" at once, for "aged" only what the journal calls
// finished.
func (c *crash) reader(ctx context.Context, t *testing.T, user string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.read(user); err != nil {
			t.Errorf("%s over POP3: %v", user, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// receivedID finds the spool's id in our own trace field, the first.
var receivedID = regexp.MustCompile(`\tid (\w+);?\r\n`)

func (c *crash) read(user string) error {
	p, err := c.i.dialPOP3(user)
	if err != nil {
		return err
	}
	defer p.close()
	list, err := p.list("UIDL")
	if err != nil {
		return err
	}
	got := map[string]removal{}
	for n := range list {
		m, err := p.fetch(n + 1)
		if err != nil {
			return err
		}
		token, err := readToken(m)
		if err != nil {
			return err
		}
		id := receivedID.FindSubmatch(m)
		if id == nil {
			return fmt.Errorf("message without an id: %.300q", m)
		}
		recorded, err := c.isRecorded(string(id[1]), n == 0)
		if err != nil {
			return err
		}
		if user == "aged" && !recorded {
			continue
		}
		if _, err := p.cmd("DELE %d", n+1); err != nil {
			return err
		}
		if _, twice := got[token]; twice {
			return fmt.Errorf("message %s is there twice", token)
		}
		got[token] = removal{recorded: recorded}
	}
	at := time.Now()
	if _, err := p.cmd("QUIT"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for token, r := range got {
		r.at = at
		c.taken[user][token] = append(c.taken[user][token], r)
	}
	return nil
}

// finishedRecord is the head of such a record in a segment: magic, kind, zeros, and the length of an id.
var finishedRecord = []byte("\xb7PH1F\x00\x00\x00\x10\x00\x00\x00")

// isRecorded says whether the journal has said that a message is finished. What is written survives the end of the
// process; look reads the journal again.
func (c *crash) isRecorded(id string, look bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !look {
		return c.recorded[id], nil
	}
	list, err := filepath.Glob(c.i.spool + "/journal/*.seg")
	if err != nil {
		return false, err
	}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // reclaimed
		} else if err != nil {
			return false, err
		}
		for {
			_, rest, found := bytes.Cut(b, finishedRecord)
			if !found || len(rest) < 20 {
				break
			}
			c.recorded[string(rest[4:20])] = true // behind the checksum
			b = rest
		}
	}
	return c.recorded[id], nil
}

// readToken finds the token and sees that the message is whole.
func readToken(m []byte) (string, error) {
	found := tokenLine.FindSubmatch(m)
	if found == nil {
		return "", fmt.Errorf("message without a token: %.200q", m)
	}
	token := string(found[1])
	m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
	if !bytes.HasSuffix(m, []byte("text\n\n.\nend of "+token+"\n")) && !bytes.HasSuffix(m, []byte("\n\n\n.\nend of "+token+"\n")) {
		return "", fmt.Errorf("message %s is cut short: %q", token, m[max(0, len(m)-100):])
	}
	return token, nil
}

// present are the tokens in a Maildir, and how often each is there.
func (c *crash) present(user string) (map[string]int, error) {
	count := map[string]int{}
	for _, path := range c.i.files(user) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // a reader has it
		} else if err != nil {
			return nil, err
		}
		token, err := readToken(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		count[token]++
	}
	return count, nil
}

// missing says what was accepted and has not arrived.
func (c *crash) missing() error {
	for _, u := range crashUsers {
		there, err := c.present(u)
		if err != nil {
			return err
		}
		c.mu.Lock()
		n, example := 0, ""
		for token, f := range c.fate {
			if f == accepted && slices.Contains(c.addressed[token], u) && there[token] == 0 && len(c.taken[u][token]) == 0 {
				n++
				example = token
			}
		}
		c.mu.Unlock()
		if n > 0 {
			return fmt.Errorf("%s lacks %d messages that were accepted, such as %s", u, n, example)
		}
	}
	return nil
}

// reclaimed says whether the spool has let go of all mail.
func (c *crash) reclaimed() error {
	status, out := c.i.check()
	if status != 0 {
		return fmt.Errorf("queue check: %s", out)
	}
	list, err := os.ReadDir(c.i.spool + "/incoming")
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("incoming still holds %d files, such as %s", len(list), list[0].Name())
	}
	return err
}

// leftovers says what is in large/ that no record names: contents whose writer was killed before their record, and those
// of finished messages where queue-runner was killed before it had removed them. Both wait for the sweep, minutes later.
func (c *crash) leftovers(t *testing.T) string {
	list, err := filepath.Glob(c.i.spool + "/large/*")
	if err != nil {
		t.Fatal(err)
	}
	finished := 0
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		token, err := readToken(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if c.fate[token] == accepted {
			finished++
		}
	}
	return fmt.Sprintf("%d of messages that were never accepted, %d of finished ones", len(list)-finished, finished)
}

// judge counts. A message may come twice in one case: a reader removed it before the runner that delivered it had
// written that down, and the runner was killed then.
func (c *crash) judge(t *testing.T) {
	fates := map[fate]int{}
	for _, f := range c.fate {
		fates[f]++
	}
	var copies, doubtful, excused int
	for _, u := range crashUsers {
		there, err := c.present(u)
		if err != nil {
			t.Error(err)
		}
		for token := range c.taken[u] {
			there[token] += len(c.taken[u][token])
		}
		for token, f := range c.fate {
			n := there[token]
			delete(there, token)
			to := slices.Contains(c.addressed[token], u)
			switch {
			case !to && n > 0, f == never && n > 0:
				t.Errorf("%s: message %s came %d times, want never (fate %d)", u, token, n, f)
			case f == accepted && to && n == 0:
				t.Errorf("%s: message %s was accepted and is lost", u, token)
			case n > 1 && u == "greedy" && c.excusable(token, n):
				excused++
			case n > 1:
				t.Errorf("%s: message %s came %d times, removed at %v; the runner was killed at %v", u, token, n, c.taken[u][token], c.outages)
			}
			copies += n
			if f == unknown && n > 0 {
				doubtful++
			}
		}
		for token, n := range there {
			t.Errorf("%s: message %s came %d times, and nobody sent it", u, token, n)
		}
	}
	for _, u := range []string{"aged", "greedy"} {
		all, recorded, early := 0, 0, 0
		for _, list := range c.taken[u] {
			for _, r := range list {
				all++
				if r.recorded {
					recorded++
					if r.at.Before(c.outages[len(c.outages)-1].killed) {
						early++
					}
				}
			}
		}
		t.Logf("%s: %d fetched and removed over POP3, %d of them finished by then, %d of these before the last kill of queue-runner", u, all, recorded, early)
	}
	t.Logf("%d sent: %d accepted, %d without a reply, %d cut off or refused; %d kills of queue-runner; %d copies in mailboxes or fetched, %d of them without a reply; %d came again after a reader had removed them before a crash",
		len(c.fate), fates[accepted], fates[unknown], fates[never], len(c.outages), copies, doubtful, excused)
}

// excusable says whether each removal but the last fell before the moment at which the delivery was written down, and
// near a kill: in the last seconds before it, or before the next runner had looked for what the killed one delivered.
func (c *crash) excusable(token string, n int) bool {
	taken := c.taken["greedy"][token]
	for _, r := range taken[:min(len(taken), n-1)] {
		found := false
		for _, o := range c.outages {
			found = found || r.at.Before(o.ready) && r.at.After(o.killed.Add(-settledAfter))
		}
		if r.recorded || !found {
			return false
		}
	}
	return true
}
