package main

import "path/filepath"

// settings prints what to type into a mail program, and commands that do without one.
func (in *instance) settings() {
	cert := filepath.Join(in.shown, "tls", "cert.pem")
	say("\nFor a mail program on this machine:\n")
	say("  mailboxes    %s   password %s", alice, in.passwords[alice])
	say("               %s     password %s", bob, in.passwords[bob])
	say("  user name    the whole address; password sent normally, over TLS")
	say("  outgoing     SMTP, server 127.0.0.1, port 2587 with STARTTLS, or 2465 with SSL/TLS")
	say("  incoming     POP3, server 127.0.0.1, port 2110 with STARTTLS, or 2995 with SSL/TLS")
	say("  certificate  it has signed itself, so the program asks: accept it, or trust %s", cert)
	say("\nWith curl (bob's mail, then a message of alice's; a line that is a dot ends nothing, Ctrl-D does):\n")
	say("  curl --cacert '%s' -u %s:%s pop3s://127.0.0.1:2995/1", cert, bob, in.passwords[bob])
	say("  curl --cacert '%s' -u %s:%s --ssl-reqd smtp://127.0.0.1:2587 \\", cert, alice, in.passwords[alice])
	say("       --mail-from %s --mail-rcpt %s --crlf -T -", alice, bob)
	say("\nOther hosts' way in is 127.0.0.1:2525 (for %s alone, no login). Mail to other domains is refused: nothing", domain)
	say("leaves this machine. Change a user or a password, and watch the log:\n")
	say("  bin/posthouse user list --config '%s'", filepath.Join(in.shown, "posthouse.toml"))
}
