package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestNoKillDoublesOrLosesMailForUsers kills deliver-local, as-user and queue-runner in turn at moments of the delivery of a message
// for a user whose ~/.forward names three Maildirs and a program: it is in each Maildir once, and the program had it at least once.
// With POSTHOUSE_CRASH=full it goes on for a while.
func TestNoKillDoublesOrLosesMailForUsers(t *testing.T) {
	t.Parallel()
	rounds := 6
	if os.Getenv("POSTHOUSE_CRASH") == "full" {
		rounds = 300
	}
	m := newMachine(t, options{more: "[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n"})
	m.owns("dora", ".forward", "\\dora, ./copy/, ./other/\n\"|/bin/sh -c 'grep ^Subject: >>got'\"\n", 0o644)
	for n := range rounds {
		mark := m.helper.Mark()
		m.send(fmt.Sprintf("kill %d.", n), "dora")
		var pid string
		for range 1 + n/3%4 { // ~/.forward is read by the first process, and its entries are the next ones'
			pid = m.helper.AwaitFrom(t, mark, `event=as-user-started op=deliver user=dora .*pid=(\d+)`)[1]
			mark = m.after(mark, "pid="+pid)
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // whatever the moment, the end is the same
		switch n % 3 {
		case 0:
			p, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			if name, _ := os.ReadFile("/proc/" + pid + "/comm"); strings.HasPrefix(string(name), "deliver-local") {
				_ = syscall.Kill(p, syscall.SIGKILL) // it may have ended
			}
		case 1:
			m.helper.Kill()
			m.helper = m.run("as-user", "root")
			m.helper.Await(t, "event=ready")
		default:
			m.queue.Kill()
			m.queue = m.run("queue-runner", "posthouse-queue")
			m.queue.Await(t, "event=ready")
		}
	}
	mtatest.Eventually(t, func() error {
		if out := m.command("posthouse", "queue", "list", "--config", m.conf); strings.Contains(out, "dora@") {
			return fmt.Errorf("in the queue:\n%s", out)
		}
		return nil
	})
	got, err := os.ReadFile(m.home("dora") + "/got")
	if err != nil {
		t.Fatal(err)
	}
	for n := range rounds {
		subject := fmt.Sprintf("kill %d.", n)
		for _, folder := range []string{"Maildir", "copy", "other"} {
			if all := strings.Join(m.inbox("dora", folder), "\n") + "\n"; strings.Count(all, subject+"\n") != 1 {
				t.Errorf("%q is in %s %d times", subject, folder, strings.Count(all, subject+"\n"))
			}
		}
		if !strings.Contains(string(got), "Subject: "+subject+"\n") {
			t.Errorf("the program has not had %q", subject)
		}
	}
}

// after is the place in as-user's log behind the first line from a place on that holds a text.
func (m *machine) after(from int, text string) int {
	for n, line := range m.helper.Log()[from:] {
		if strings.Contains(line, text) {
			return from + n + 1
		}
	}
	return from
}
