package mtatest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// VerifyTestMain runs the tests, and fails when a goroutine outlives them. That of goleak waits half a second for the last
// ones, which is too little on a busy machine.
func VerifyTestMain(m *testing.M) {
	status := m.Run()
	if status == 0 {
		err := goleak.Find()
		for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}
