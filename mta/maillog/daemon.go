package maillog

import "log/slog"

// Started occurs when a daemon has read its configuration. Fields: program, version, config (the file).
func (l *Log) Started(program, version, config string) {
	l.event(slog.LevelInfo, "started", slog.String("program", program), slog.String("version", version), slog.String("config", config))
}

// RunsAsRoot occurs at the start of a daemon that runs as root, which none of them needs. Fields: program.
func (l *Log) RunsAsRoot(program string) {
	l.event(slog.LevelWarn, "runs-as-root", slog.String("program", program))
}

// ConfigWarning occurs at the start and at each reload, for what the configuration allows and yet probably does not
// mean. Fields: text.
func (l *Log) ConfigWarning(text string) {
	l.event(slog.LevelWarn, "config-warning", slog.String("text", text))
}

// ConfigProblem occurs for each fault of a configuration that a reload has refused, or that keeps a daemon from its
// work. Fields: where (file:line), key, text (what is wrong and what is allowed).
func (l *Log) ConfigProblem(where, key, text string) {
	l.event(slog.LevelError, "config-problem", slog.String("where", where), slog.String("key", key), slog.String("text", text))
}

// Listening occurs when a socket takes connections. Fields: address, activated ("systemd" where the socket came from there).
func (l *Log) Listening(address string, activated bool) {
	by := ""
	if activated {
		by = "systemd"
	}
	l.event(slog.LevelInfo, "listening", slog.String("address", address), slog.String("activated", by))
}

// Ready occurs once, when a daemon does its work. Fields: program.
func (l *Log) Ready(program string) {
	l.event(slog.LevelInfo, "ready", slog.String("program", program))
}

// Reloaded occurs when a changed configuration is in force. Fields: config (the file).
func (l *Log) Reloaded(config string) {
	l.event(slog.LevelInfo, "reloaded", slog.String("config", config))
}

// ReloadFailed occurs when a reload was asked for and the old configuration stays in force; where files are at fault,
// a ConfigProblem for each fault comes before it. Fields: config (the file), err.
func (l *Log) ReloadFailed(config string, err error) {
	l.event(slog.LevelError, "reload-failed", slog.String("config", config), slog.Any("err", err))
}

// Stopping occurs when a signal ends a daemon: it takes no more work and finishes what it has. Fields: signal.
func (l *Log) Stopping(signal string) {
	l.event(slog.LevelInfo, "stopping", slog.String("signal", signal))
}

// Interrupted occurs when a second signal ends a daemon before it has finished its work. Fields: signal.
func (l *Log) Interrupted(signal string) {
	l.event(slog.LevelWarn, "interrupted", slog.String("signal", signal))
}

// Stopped occurs last. Fields: program, err (why, where nobody asked for the end).
func (l *Log) Stopped(program string, err error) {
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
	}
	l.event(level, "stopped", slog.String("program", program), slog.Any("err", err))
}
