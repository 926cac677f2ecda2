package config

import (
	"os"
	"strings"
)

// machineName is the machine's full name: what the kernel says, completed by /etc/hosts where that has no domain.
// No name server is asked: the answer must be the same before the network is up. It is "" where there is no name.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	if !strings.Contains(name, ".") {
		if b, err := os.ReadFile("/etc/hosts"); err == nil {
			name = fullName(name, string(b))
		}
	}
	ascii, _, err := domainName(name)
	if err != nil {
		return ""
	}
	return ascii
}

// fullName finds the line of hosts(5) that names the machine, and returns the first name with a domain on it.
func fullName(name, hosts string) string {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		found, full := false, ""
		for i, f := range fields {
			switch {
			case i == 0: // the address
			case strings.EqualFold(f, name):
				found = true
			case full == "" && strings.Contains(f, "."):
				full = f
			}
		}
		if found && full != "" {
			return full
		}
	}
	return name
}
