package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/acme"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// endsSoon is how long before its end a certificate is told of: every renewal begins earlier.
const endsSoon = 14 * 24 * time.Hour

// renewal warns of certificates that end soon, and of some that nothing renews.
func (c *checker) renewal(now time.Time) {
	paths := []string{}
	if c.cfg.TLS.Certificate != "" {
		paths = append(paths, c.cfg.TLS.Certificate)
	}
	for _, s := range c.cfg.TLS.SNI {
		paths = append(paths, s.Certificate)
	}
	for _, path := range paths {
		at, err := expires(path)
		if err != nil || at.Sub(now) > endsSoon {
			continue
		}
		what := "renew it"
		if c.cfg.ACME.Email != "" && c.cfg.ACME.Holds(path) {
			what = "see posthouse cert status"
		}
		c.warnings = append(c.warnings, fmt.Sprintf("%s ends %s; %s", path, at.UTC().Format(time.DateTime), what))
	}
	cc := certs{cfg: c.cfg, targets: acme.Targets(c.cfg)}
	lines, _ := cc.lines(now)
	for _, l := range lines {
		switch {
		case l.Error != "":
			c.warnings = append(c.warnings, l.Error)
		case l.StandIn:
			c.warnings = append(c.warnings, l.Path+" is a stand-in until a certificate is obtained: posthouse cert renew")
		}
	}
	if state := timerState(context.Background(), c.cfg); len(lines) > 0 && state != "" && state != "active" {
		c.warnings = append(c.warnings, fmt.Sprintf("nothing renews certificates: %s is %s; systemctl enable --now %[1]s", certTimer, state))
	}
}

// certTimer is the unit that has certificates renewed.
const certTimer = "posthouse-cert.timer"

// timerState is what systemd says of the timer: "active", or what it is instead; "" where systemd does not run this system.
func timerState(ctx context.Context, cfg *config.Config) string {
	if _, err := os.Stat("/run/systemd/system"); err != nil || daemon.Private(cfg) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "systemctl", "is-active", certTimer).Output() // its exit status says the same
	return strings.TrimSpace(string(out))
}
