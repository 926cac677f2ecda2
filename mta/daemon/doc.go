// Package daemon is what the thin mains of cmd/smtpd, cmd/queue-runner and cmd/pop3d have in common: flags, the log,
// signals, sockets, the service manager, the folders of an instance, and the exit status. Nobody else calls it.
//
// A main is one call of Main. Its run function builds the daemon, opens sockets with App.Listen, says App.Ready, works
// until its context ends, drains, and returns.
//
// The protocols of the service manager are those of sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3).
package daemon
