package daemon

import (
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/journal"
	slogjournal "github.com/systemd/slog-journal"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// level turns a value of [log] level into one of slog.
func level(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// journalSocket is where journald takes its own protocol.
const journalSocket = "/run/systemd/journal/socket"

// handler chooses where the log goes. Standard error alone decides about the journal: a program whose standard error
// was sent elsewhere is meant to log there.
func handler(format string, stderr io.Writer, level slog.Leveler) slog.Handler {
	switch format {
	case "json":
		return maillog.NewJSON(stderr, level)
	case "auto":
		if h, ok := journalHandler(stderr, level); ok {
			return h
		}
	}
	return maillog.NewText(stderr, level)
}

// journalHandler logs to the journal, where standard error goes there.
func journalHandler(stderr io.Writer, level slog.Leveler) (slog.Handler, bool) {
	// A program under another root directory has the stream and not the socket: there the stream takes the lines.
	if ok, err := journal.StderrIsJournalStream(); err != nil || !ok || stderr != os.Stderr || !isSocket(journalSocket) {
		return nil, false
	}
	h, err := slogjournal.NewHandler(&slogjournal.Options{Level: level})
	if err != nil {
		return nil, false
	}
	return maillog.NewJournal(h), true
}

func isSocket(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().Type() == fs.ModeSocket
}

func isReload(s os.Signal) bool { return s == syscall.SIGHUP }
