// Package fail2ban holds filters and jails for fail2ban, and tests that hold them against what the servers log.
package fail2ban
