package smtpc_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestMain fails when a goroutine outlives the tests.
func TestMain(m *testing.M) { mtatest.VerifyTestMain(m) }
