package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// straight is no server: the source sends to the sink.
type straight struct{}

func (straight) name() string                                         { return "straight" }
func (straight) start(_ context.Context, sink string) (string, error) { return sink, nil }
func (straight) cpu() (time.Duration, error)                          { return treeCPU(os.Getpid()) }
func (straight) stop() error                                          { return nil }

func TestMessagesAreSentCountedAndTimed(t *testing.T) {
	mtatest.Need(t, "smtp-sink")
	mtatest.Need(t, "smtp-source")
	if os.Geteuid() != 0 {
		mtatest.Lacking(t, "needs root, whose rights smtp-sink gives up")
	}
	o := options{n: 20, size: 500}
	r, err := measure(t.Context(), o, straight{}, 2)
	if err != nil || r.accepted <= 0 || r.relayed <= 0 || r.relayed > r.accepted || r.cpu < 0 {
		t.Errorf("got %+v, %v; want what is accepted and what of it arrives", r, err)
	}
}

func TestProcessorTimeOfATree(t *testing.T) {
	child := exec.Command("sh", "-c", "kill -STOP $$")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid
	if _, err := treeCPU(pid); err != nil {
		t.Errorf("a child that runs: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if d, err := treeCPU(pid); err == nil {
		t.Errorf("a child that has ended: got %v, want an error", d)
	}
}
