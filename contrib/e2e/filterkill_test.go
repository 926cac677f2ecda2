package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestFiltersThatAreKilledLoseNoMessage kills each filter every 200 ms under load. Whatever got 250
// is delivered once and was judged, whatever got 4xx never comes, and in the end no process is left, also where smtpd was
// killed itself.
func TestFiltersThatAreKilledLoseNoMessage(t *testing.T) {
	t.Parallel()
	length := 3 * time.Second
	if os.Getenv("POSTHOUSE_CRASH") == "full" {
		length = time.Minute
	}
	i := filtered(t, "enabled = [\"policy\", \"exec\"]\n", map[string]string{
		"policy": "[[settings.rule]]\nname = \"judged\"\nheader = { X-Token = [\".\"] }\nadd_header = [\"X-Judged: yes\"]\n",
		"exec":   "[settings]\ncommand = [\"/bin/sh\", \"-c\", \"cat >/dev/null\"]\n",
	})
	dir := i.filterDir()
	var mu sync.Mutex
	var taken []string
	refused, kills, broken := 0, 0, []error(nil)
	send := func(token string) {
		c, err := dialSMTP(i.mx)
		if err == nil {
			defer c.close()
			if _, err = c.cmd("250", "EHLO client.test"); err == nil {
				_, _, err = c.send(tokenMessage(token, 1000), "x@away.test", i.address("bob"))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		var no *replyError
		switch {
		case err == nil:
			taken = append(taken, token)
		case errors.As(err, &no) && strings.HasPrefix(no.got, "451 4.3.0 "):
			refused++
		default:
			broken = append(broken, err)
		}
	}
	send("first") // before any is killed
	end := time.Now().Add(length)
	late := end.Add(mtatest.Patience)
	goOn := func() bool { // longer on a machine so busy that nothing came between a kill and a new start
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		return now.Before(end) || now.Before(late) && refused == 0
	}
	var work sync.WaitGroup
	work.Go(func() {
		for goOn() {
			for _, pid := range startedFrom(t, dir) {
				kills++
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	for n := range 6 {
		work.Go(func() {
			for k := 0; goOn(); k++ {
				send(fmt.Sprintf("%d-%d", n, k))
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	work.Wait()
	t.Logf("%d accepted, %d refused for now, %d processes killed", len(taken), refused, kills)
	if len(taken) == 0 || refused == 0 || kills == 0 || len(broken) > 0 {
		t.Errorf("got %d accepted, %d refused for now, %d killed, and %v; want some of each, and nothing else", len(taken), refused, kills, broken)
	}
	i.wantTokens(t, "bob", taken...)
	for _, path := range i.files("bob") {
		if b, err := os.ReadFile(path); err != nil || strings.Count(string(b), "\nX-Judged: yes\r\n")+strings.Count(string(b), "\nX-Judged: yes\n") != 1 {
			t.Errorf("%s was not judged once: %v %.300q", path, err, b)
		}
	}
	i.smtpd.Terminate(t)
	run := func(when string, n int) {
		mtatest.Eventually(t, func() error {
			if got := startedFrom(t, dir); len(got) != n {
				return fmt.Errorf("%s: got the processes %v, want %d", when, got, n)
			}
			return nil
		})
	}
	run("after smtpd's end", 0)
	i.restart(&i.smtpd)
	run("after a restart", 2)
	i.smtpd.Kill()
	run("after smtpd was killed", 0)
	i.queue.Terminate(t)
	i.wantSound()
}

// startedFrom are the processes of the programs in a folder.
func startedFrom(t *testing.T, dir string) (pids []int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(b), dir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Error(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
