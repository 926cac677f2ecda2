package mtatest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// verdict stands in for a test: what is told of it is kept.
type verdict struct {
	testing.TB
	said    []string
	fatal   bool
	skipped bool
}

func (*verdict) Helper() {}

func (v *verdict) Errorf(format string, args ...any) {
	v.said = append(v.said, fmt.Sprintf(format, args...))
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.fatal = true
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) { v.Fatalf("%s", fmt.Sprint(args...)) }

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = true
	v.Errorf(format, args...)
	runtime.Goexit()
}

// judge runs what a test would.
func judge(t *testing.T, test func(t testing.TB)) *verdict {
	v, done := &verdict{TB: t}, make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		test(v)
	}()
	<-done
	return v
}

// want holds what was told against what should have been: nothing, or a failure with this text.
func (v *verdict) want(t *testing.T, name, text string, fatal bool) {
	t.Helper()
	all := strings.Join(v.said, "\n")
	if (text == "") != (len(v.said) == 0) || !strings.Contains(all, text) || v.fatal != fatal || len(v.said) > 1 {
		t.Errorf("%s: it says %q (fatal: %v), want %q (fatal: %v)", name, all, v.fatal, text, fatal)
	}
}
