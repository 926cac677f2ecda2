package e2e_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const sighup = syscall.SIGHUP

// send submits a message of alice's and returns its id.
func (w *world) send(t *testing.T, to ...string) string {
	t.Helper()
	c := w.here.submit(t, "alice")
	defer c.close()
	id, _, err := c.send([]byte("Subject: x\r\n\r\nx\r\n"), w.here.address("alice"), to...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// alone is a world with one host.
func alone(t *testing.T) *world {
	t.Helper()
	w := &world{zone: newZone(t), port: freePort(t, hereIP, deadIP, sinkIP, hungIP)}
	w.here = w.start(t, options{ip: hereIP, domain: "here.test"})
	return w
}

func TestDeadExchangerFallsToTheNext(t *testing.T) {
	t.Parallel()
	w := alone(t)
	sink := (&mtatest.Sink{}).Start(t, fmt.Sprintf("%s:%d", sinkIP, w.port))
	w.name(t, "far.test. 300 IN MX 10 dead.test.", "far.test. 300 IN MX 20 nowhere.test.", "far.test. 300 IN MX 30 sink.test.")
	id := w.send(t, "x@far.test", "y@far.test")
	for _, to := range []string{"x", "y"} {
		w.here.queue.Await(t, "event=delivered id="+id+" to=<"+to+"@far.test> by=sink.test")
	}
	if n := w.here.queue.Count("event=deferred"); n != 0 || len(sink.Messages()) != 1 || len(sink.Messages()[0].Rcpts) != 2 {
		t.Errorf("got %d deferrals and %+v, want one message to two at the first attempt", n, sink.Messages())
	}
}

func TestBusyServerIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := alone(t)
	w.name(t, "far.test. 300 IN MX 10 sink.test.")
	var mails, rcpts, ends atomic.Int32
	sink := &mtatest.Sink{On: func(command string) string {
		switch {
		case strings.HasPrefix(command, "MAIL") && mails.Add(1) == 1:
			return "451 4.3.0 not now"
		case strings.HasPrefix(command, "RCPT TO:<y@") && rcpts.Add(1) == 1:
			return "450 4.2.0 greylisted"
		case command == "END" && ends.Add(1) == 1:
			return "452 4.3.1 disk full"
		}
		return ""
	}}
	sink.Start(t, fmt.Sprintf("%s:%d", sinkIP, w.port))
	id := w.send(t, "x@far.test", "y@far.test")
	w.here.queue.Await(t, "event=deferred id="+id+" to=<x@far.test>.*reply=\"451 4.3.0 not now.*tries=1 next=")
	w.here.queue.Await(t, "event=deferred id="+id+" to=<y@far.test>.*450 4.2.0")
	w.here.queue.Await(t, "event=deferred id="+id+" to=<x@far.test>.*452 4.3.1")
	for _, to := range []string{"x", "y"} {
		w.here.queue.Await(t, "event=delivered id="+id+" to=<"+to+"@far.test> by=sink.test")
	}
	w.here.queue.Await(t, "event=finished id="+id)
	got := map[string]int{}
	for _, m := range sink.Messages() {
		for _, r := range m.Rcpts {
			got[strings.Fields(r)[0]]++
		}
	}
	if got["TO:<x@far.test>"] != 1 || got["TO:<y@far.test>"] != 1 {
		t.Errorf("got %v, want each recipient once", got)
	}
	w.here.stop()
	w.here.wantSound()
}

func TestNamesThatCannotBeLookedUpNowAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := alone(t)
	sink := (&mtatest.Sink{}).Start(t, fmt.Sprintf("%s:%d", sinkIP, w.port))
	w.zone.Silent("far.test", true)
	id := w.send(t, "x@far.test")
	w.here.queue.Await(t, `event=deferred id=`+id+` to=<x@far.test>.*reply="451 4.4.3`)
	w.name(t, "far.test. 300 IN MX 10 sink.test.")
	w.zone.Silent("far.test", false)
	w.here.queue.Await(t, "event=delivered id="+id)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}

// hang makes a listener that never takes a connection, with no place left in its queue: the kernel answers nothing.
func hang(t *testing.T, ip string, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	addr := &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(ip).To4())}
	if err := unix.Bind(fd, addr); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	const most = 8
	for taken := 0; taken < most; {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", ip, port), 2*time.Second)
		if err == nil {
			taken++
			t.Cleanup(func() { _ = c.Close() })
		} else if taken > 0 { // there is room for one at the least: before that it was the machine that was slow
			return
		}
	}
	t.Fatal("the listener's queue is never full")
}

func TestHostThatDoesNotAnswerTimesOut(t *testing.T) {
	t.Parallel()
	w := alone(t)
	hang(t, hungIP, w.port)
	sink := (&mtatest.Sink{}).Start(t, fmt.Sprintf("%s:%d", sinkIP, w.port))
	w.name(t, "far.test. 300 IN MX 10 hung.test.", "both.test. 300 IN MX 10 hung.test.", "both.test. 300 IN MX 20 sink.test.")
	id := w.send(t, "x@far.test", "y@both.test")
	w.here.delivered(w.here.deposit(t, "Subject: x\r\n\r\n", "bob"), "bob") // nobody else waits
	w.here.queue.Await(t, "event=delivered id="+id+" to=<y@both.test> by=sink.test")
	w.here.queue.Await(t, "event=deferred id="+id+` to=<x@far.test>.* reply="451 4.4.1.*err=.*i/o timeout`)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}

// TestServerThatGoesSilentKeepsNothing has a server that takes the connection and says nothing: the time to stop ends
// the attempt and loses nothing. The RFC's own timeout is five minutes.
func TestServerThatGoesSilentKeepsNothing(t *testing.T) {
	t.Parallel()
	w := alone(t)
	w.name(t, "far.test. 300 IN MX 10 sink.test.")
	silence, met := make(chan struct{}), make(chan struct{}, 100)
	sink := &mtatest.Sink{On: func(command string) string {
		if command == "GREETING" {
			met <- struct{}{}
			<-silence
		}
		return ""
	}}
	sink.Start(t, fmt.Sprintf("%s:%d", sinkIP, w.port))
	id := w.send(t, "x@far.test")
	select {
	case <-met:
	case <-time.After(mtatest.Patience):
		t.Fatal("no connection")
	}
	w.here.delivered(w.here.deposit(t, "Subject: x\r\n\r\n", "bob"), "bob") // nobody else waits
	if os.Getenv("POSTHOUSE_SLOW") != "" {
		if _, err := w.here.queue.Search(0, "event=deferred id="+id+` to=<x@far.test>.* reply="451 4.4.2`, 6*time.Minute); err != nil {
			t.Error(err)
		}
	}
	w.here.queue.Terminate(t)
	if w.here.queue.Count("event=cut running=1") != 1 {
		t.Error("the attempt was not cut off at the end")
	}
	close(silence)
	w.here.restart(&w.here.queue)
	w.here.queue.Await(t, "event=delivered id="+id+" to=<x@far.test> by=sink.test")
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
	w.here.stop()
	w.here.wantSound()
}
