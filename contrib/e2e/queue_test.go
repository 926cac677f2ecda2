package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// queued is one line of `posthouse queue list --json`.
type queued struct {
	ID     string
	Sender string
	Status string
	Why    string
	Next   time.Time
	Rcpts  []struct {
		Address string
		State   string
		Tries   int
	}
}

// ask runs `posthouse queue` and wants a good end.
func (i *instance) ask(args ...string) string {
	i.t.Helper()
	status, out := i.tryAsk(args...)
	if status != 0 {
		i.t.Fatalf("posthouse queue %s: status %d\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

func (i *instance) tryAsk(args ...string) (int, string) {
	i.t.Helper()
	return i.posthouse("", append([]string{"queue", args[0], "--config", i.conf}, args[1:]...)...)
}

// inQueue is what the list has.
func (i *instance) inQueue(filter ...string) (list []queued) {
	i.t.Helper()
	for line := range strings.Lines(i.ask(append([]string{"list", "--json"}, filter...)...)) {
		var q queued
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			i.t.Fatalf("%q: %v", line, err)
		}
		list = append(list, q)
	}
	return list
}

// deaf is an instance whose name server does not answer: what is for others waits.
func deaf(t *testing.T) *instance {
	t.Helper()
	return start(t, options{more: "[outbound]\nresolver = [\"127.0.0.1:1\"]\n"})
}

// wait puts a message into the queue that waits for its second try.
func (i *instance) wait(content string, to ...string) (id string) {
	i.t.Helper()
	c := i.submit(i.t, "alice")
	defer c.close()
	id, _, err := c.send([]byte(content), i.address("alice"), to...)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, a := range to {
		i.queue.Await(i.t, "event=deferred id="+id+" to=<"+a+">")
	}
	return id
}

func TestQueueIsListedAndShown(t *testing.T) {
	t.Parallel()
	i := deaf(t)
	if out := i.ask("list"); out != "the queue is empty\n" {
		t.Errorf("empty list: got %q", out)
	}
	if out := i.ask("list", "--mailq"); out != "Mail queue is empty\n" {
		t.Errorf("empty mailq: got %q", out)
	}
	one := i.wait("Subject: one\r\n\r\nfirst\r\n", "x@far.test", "y@near.test")
	two := i.wait("Subject: two\r\n\r\nsecond\r\n", "x@other.test")
	list := i.inQueue()
	if len(list) != 2 || list[0].ID != one || list[1].ID != two {
		t.Fatalf("got %+v, want %s and %s", list, one, two)
	}
	if q := list[0]; q.Status != "deferred" || !strings.Contains(q.Why, "4.4.3") || len(q.Rcpts) != 2 || q.Rcpts[0].Tries != 1 || !q.Next.After(time.Now()) {
		t.Errorf("got %+v", q)
	}
	for _, c := range []struct {
		filter string
		want   string
	}{
		{"--to=x@FAR.test", one}, {"--to=*@far.test", one}, {"--domain=other.test", two}, {"--older=1h", ""}, {"--status=held", ""},
		{"--status=deferred", one + two}, {"--reply=4.4.3", one + two}, {"--reply=no such words", ""}, {"--from=<>", ""},
	} {
		got := ""
		for _, q := range i.inQueue(c.filter) {
			got += q.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.filter, got, c.want)
		}
	}
	if status, out := i.tryAsk("list", "--status=lost"); status != 64 || !strings.Contains(out, "allowed: new, active") {
		t.Errorf("an unknown status: got %d %q", status, out)
	}
	if out := i.ask("list", "--mailq"); !strings.Contains(out, one) || !strings.Contains(out, " y@near.test\n") || !strings.HasSuffix(out, " in 2 Requests.\n") {
		t.Errorf("mailq: got %s", out)
	}
	shown := i.ask("show", one)
	for _, want := range []string{"status    deferred\n", "to        x@far.test: waiting, 1 attempt, next ", "attempt   ", "x@far.test: deferred: 451 4.4.3"} {
		if !strings.Contains(shown, want) {
			t.Errorf("show: got\n%swant %q in it", shown, want)
		}
	}
	if out := i.ask("stat"); !strings.Contains(out, "\nother.test                          1     1     0 ") || !strings.Contains(out, "\n2 messages: 2 deferred; the oldest came in ") {
		t.Errorf("stat: got\n%s", out)
	}
	if out := i.ask("stat", "--json", "--senders", "--to=x@far.test"); !strings.Contains(out, `"domains":[{"domain":"`+i.domain+`","messages":1,`) {
		t.Errorf("stat of senders: got %s", out)
	}
	if out := i.ask("cat", one); !strings.HasPrefix(out, "Received: ") || !strings.HasSuffix(out, "Subject: one\r\n\r\nfirst\r\n") {
		t.Errorf("cat: got %q", out)
	}
	if status, out := i.tryAsk("show", "0123456789ABCDAB"); status != 66 || !strings.Contains(out, "no such message") {
		t.Errorf("show of nothing: got %d %q", status, out)
	}
	i.queue.Terminate(t)
	if status, out := i.tryAsk("list"); status != 69 || !strings.Contains(out, "is it running") {
		t.Errorf("without a queue-runner: got %d %q", status, out)
	}
	i.restart(&i.queue)
	if list := i.inQueue(); len(list) != 2 || list[0].Rcpts[0].Tries != 1 {
		t.Errorf("after a restart: got %+v", list)
	}
}

func TestQueueIsChanged(t *testing.T) {
	t.Parallel()
	i := deaf(t)
	text := "Subject: x\r\n\r\nx\r\n"
	held := i.wait(text, "a@far.test")
	if out := i.ask("hold", "--reason", "looks odd", held); !strings.Contains(out, "1 message held") {
		t.Errorf("hold: got %q", out)
	}
	i.queue.Await(t, "event=ordered id="+held+" op=hold by=.* reason=\"looks odd\"")
	i.queue.Kill() // what was answered lasts
	i.restart(&i.queue)
	if list := i.inQueue("--status=held"); len(list) != 1 || list[0].ID != held || list[0].Why != "looks odd" {
		t.Fatalf("after a kill: got %+v, want %s held", i.inQueue(), held)
	}
	if status, out := i.tryAsk("retry", held); status != 75 || !strings.Contains(out, "it is held") {
		t.Errorf("retry of a held one: got %d %q", status, out)
	}
	mark := i.queue.Mark()
	i.ask("release", held)
	i.queue.AwaitFrom(t, mark, "event=ordered id="+held+" op=release")

	mark = i.queue.Mark()
	i.ask("retry", held)
	i.queue.AwaitFrom(t, mark, "event=deferred id="+held+" .*tries=2")
	mark = i.queue.Mark()
	i.ask("flush", "far.test")
	i.queue.AwaitFrom(t, mark, "event=deferred id="+held+" .*tries=3")

	i.ask("redirect", "bob@"+i.domain, held)
	i.delivered(held, "bob")

	for n := range 3 {
		i.wait(text, string(rune('a'+n))+"@bulk.test")
	}
	if status, out := i.tryAsk("remove", "--domain=bulk.test"); status != 64 || !strings.Contains(out, "3 messages to be removed") {
		t.Errorf("remove without a terminal: got %d %q", status, out)
	}
	if status, out := i.tryAsk("remove"); status != 64 || !strings.Contains(out, "say which messages") {
		t.Errorf("remove of nothing: got %d %q", status, out)
	}
	if out := i.ask("remove", "--domain=bulk.test", "--yes"); !strings.Contains(out, "3 messages removed") {
		t.Errorf("remove: got %q", out)
	}
	i.queue.Kill()
	i.restart(&i.queue)
	if list := i.inQueue(); len(list) != 0 {
		t.Errorf("after all were removed: got %+v", list)
	}
	lost := i.wait(text, "z@far.test")
	i.ask("bounce", "--reason", "there is no such company any more", lost)
	i.delivered(lost+"F0", "alice")
	if b := string(i.one(t, "alice")); !strings.Contains(b, "there is no such company any more") {
		t.Errorf("the report: got %s", b)
	}
	i.queue.Await(t, "event=finished id="+lost)
	if status, out := i.tryAsk("remove", lost); status != 66 || !strings.Contains(out, "no such message") {
		t.Errorf("remove of a finished one: got %d %q", status, out)
	}
	i.stop()
	i.wantSound()
}

func TestWhatIsBeingTriedIsNotChanged(t *testing.T) {
	t.Parallel()
	ip := ownIP()
	ln, err := net.Listen("tcp", ip+":0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	i := start(t, options{ip: ip, more: fmt.Sprintf("[[route]]\ndomain = \"slow.test\"\nto = \"smtp:%s\"\ntls = \"none\"\n", ln.Addr())})
	c := i.submit(t, "alice")
	defer c.close()
	id, _, err := c.send([]byte("Subject: x\r\n\r\nx\r\n"), i.address("alice"), "a@slow.test")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if list := i.inQueue(); len(list) != 1 || list[0].Status != "active" {
		t.Errorf("got %+v, want it active", list)
	}
	var dests []struct {
		Name, State                 string
		Domains                     []string
		Window, Connections, Queued int
	}
	site := "smtp:" + ln.Addr().String()
	if err := json.Unmarshal([]byte(i.ask("dest", "--json", site)), &dests); err != nil {
		t.Fatal(err)
	}
	if len(dests) != 1 || dests[0].State != "unknown" || dests[0].Connections != 1 || dests[0].Window != 2 {
		t.Errorf("dest: got %+v", dests)
	}
	if status, out := i.tryAsk("remove", id); status != 75 || !strings.Contains(out, id+": a delivery of it is under way: try again later") {
		t.Errorf("remove: got %d %q", status, out)
	}
	_ = peer.Close()
	i.queue.Await(t, "event=deferred id="+id) // what was given up is not done later
	i.queue.Await(t, "event=dead site=")
	if out := i.ask("dest", site); !strings.Contains(out, "dead          0     0      0 ") || !strings.Contains(out, "\n         451 4.4") {
		t.Errorf("dest of a dead one: got\n%s", out)
	}
	if status, out := i.tryAsk("dest", "none.test"); status != 66 || !strings.Contains(out, "no mail goes there now") {
		t.Errorf("dest of nothing: got %d %q", status, out)
	}
	if out := i.ask("remove", id); !strings.Contains(out, "1 message removed") {
		t.Errorf("remove: got %q", out)
	}
	i.queue.Await(t, "event=finished id="+id)
	i.stop()
	i.wantSound()
}

func TestChangesOutliveKills(t *testing.T) {
	t.Parallel()
	i := deaf(t)
	const each = 15
	all := map[string]bool{}
	for _, domain := range []string{"bounce.test", "redirect.test", "remove.test", "hold.test"} {
		var to []string
		for n := range each {
			to = append(to, fmt.Sprintf("u%d@%s", n, domain))
		}
		for _, a := range to {
			all[i.wait("Subject: "+a+"\r\n\r\nx\r\n", a)] = true
		}
	}
	if len(all) != 4*each {
		t.Fatalf("got %d messages, want %d", len(all), 4*each)
	}
	for _, order := range [][]string{
		{"bounce", "--domain=bounce.test"}, {"redirect", "bob@" + i.domain, "--domain=redirect.test"}, {"remove", "--domain=remove.test"}, {"hold", "--domain=hold.test"},
	} {
		if out := i.ask(append(order, "--yes")...); !strings.Contains(out, fmt.Sprintf("%d messages ", each)) {
			t.Errorf("%s: got %q", order, out)
		}
		i.queue.Kill() // before what follows from it was done, most likely
		i.restart(&i.queue)
	}
	mtatest.Eventually(t, func() error {
		if n := len(i.inQueue()); n != each {
			return fmt.Errorf("%d messages in the queue, want the %d that are held", n, each)
		}
		return nil
	})
	i.queue.Kill()
	i.restart(&i.queue)
	if got := i.inQueue("--status=held", "--domain=hold.test"); len(got) != each {
		t.Errorf("held: got %d, want %d", len(got), each)
	}
	reports, redirected := i.fetchAll(t, "alice"), i.fetchAll(t, "bob")
	if len(reports) != each || len(redirected) != each {
		t.Errorf("got %d reports and %d redirected messages, want %d of each", len(reports), len(redirected), each)
	}
	for n := range each {
		if a := fmt.Sprintf("Final-Recipient: rfc822; u%d@bounce.test\r\n", n); count(reports, a) != 1 {
			t.Errorf("%q stands in %d reports, want 1", a, count(reports, a))
		}
		if s := fmt.Sprintf("Subject: u%d@redirect.test\r\n", n); count(redirected, s) != 1 {
			t.Errorf("%q was redirected %d times, want once", s, count(redirected, s))
		}
	}
	i.stop()
	i.wantSound()
}

// count is in how many messages a text stands.
func count(messages [][]byte, text string) (n int) {
	for _, m := range messages {
		if strings.Contains(string(m), text) {
			n++
		}
	}
	return n
}
