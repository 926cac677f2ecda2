package filtertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
)

// Message is a message of this text as an event has it, for tests that call a stage themselves. It goes when the test ends.
func Message(t testing.TB, text string) *filters.Message {
	t.Helper()
	m, _ := message(t, text)
	return m
}

// Lost is a message whose file has gone since: it cannot be read.
func Lost(t testing.TB) *filters.Message {
	t.Helper()
	m, path := message(t, "Subject: lost\r\n\r\nbody\r\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return m
}

func message(t testing.TB, text string) (m *filters.Message, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := filters.FileMessage("1K0ZRAC0VZ7FB7X7", path, path+".body")
	if err != nil {
		t.Fatal(err)
	}
	return m, path
}
