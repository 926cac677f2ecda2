package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

// TestNoRoomInTheHome has each operation that needs room find none: the user's by the file system's quota, or the file system's.
func TestNoRoomInTheHome(t *testing.T) {
	p := home(t)
	for errno, want := range map[syscall.Errno]string{syscall.EDQUOT: "452 4.2.2", syscall.ENOSPC: "452 4.3.1"} {
		for _, name := range []string{"mkdir", "create", "write", "sync"} {
			m := newMachine(t, p, 0)
			full := true
			m.disk.Hook = func(op simdisk.Op) error {
				if full && op.Proc == "deliver-local" && op.Name == name {
					return errno
				}
				return nil
			}
			p.fs = m.disk.Process("deliver-local")
			d := delivery()
			o, _ := p.deliver(t.Context(), d, letterOf(t, text))
			if o.Status != mta.Deferred || fmt.Sprint(o.Code, " ", o.Enhanced) != want || o.Cause == nil || !strings.Contains(o.Cause.Error(), p.home+"/Maildir") || strings.Contains(o.Text, p.home) {
				t.Errorf("%v, %s: got %+v, want %s", errno, name, o, want)
			}
			full = false
			d.Look = true
			if o, _ := p.deliver(t.Context(), d, letterOf(t, text)); o.Status != mta.Delivered {
				t.Errorf("%v, %s: with room again: got %+v", errno, name, o)
			}
			if err := m.look([]string{"Maildir"}); err != nil {
				t.Errorf("%v, %s: %v", errno, name, err)
			}
		}
	}
}
