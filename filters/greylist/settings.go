package greylist

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// settings are [settings] of greylist.toml.
type settings struct {
	Delay     string   `toml:"delay"`      // until a triplet is taken
	Window    string   `toml:"window"`     // within which it has to come again
	Keep      string   `toml:"keep"`       // after the last mail
	IPv4      int      `toml:"ipv4"`       // bits of a client's address that count
	IPv6      int      `toml:"ipv6"`       // bits of a client's address that count
	Skip      []string `toml:"skip"`       // networks
	SkipNames []string `toml:"skip_names"` // domains of clients
	SkipSPF   bool     `toml:"skip_spf"`   // what SPF passes

	delay, window, keep time.Duration
	skip                []netip.Prefix
}

func read(s filters.Settings) (settings, error) {
	set := settings{Delay: "5m", Window: "25h", Keep: "36d", IPv4: 24, IPv6: 64}
	if err := s.Decode(&set); err != nil {
		return set, err
	}
	for _, k := range []struct {
		key, text string
		to        *time.Duration
		low, high time.Duration
	}{
		{"delay", set.Delay, &set.delay, time.Second, 24 * time.Hour},
		{"window", set.Window, &set.window, time.Minute, 30 * day},
		{"keep", set.Keep, &set.keep, time.Hour, 400 * day},
	} {
		d, err := duration(k.text)
		if err != nil || d < k.low || d > k.high {
			return set, s.Fault(k.key, fmt.Sprintf("%s = %q; allowed: %v to %dd, as in \"90s\", \"5m\", \"12h\", \"36d\"", k.key, k.text, k.low, int(k.high/day)))
		}
		*k.to = d
	}
	if set.window <= set.delay {
		return set, s.Fault("window", fmt.Sprintf("window = %q; allowed: longer than delay, which is %q", set.Window, set.Delay))
	}
	if set.IPv4 < 8 || set.IPv4 > 32 {
		return set, s.Fault("ipv4", fmt.Sprintf("ipv4 = %d; allowed: 8 to 32", set.IPv4))
	}
	if set.IPv6 < 16 || set.IPv6 > 128 {
		return set, s.Fault("ipv6", fmt.Sprintf("ipv6 = %d; allowed: 16 to 128", set.IPv6))
	}
	for _, n := range set.Skip {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return set, s.Fault("skip", fmt.Sprintf("skip: %q is no network; allowed: as in \"192.0.2.0/24\"", n))
		}
		set.skip = append(set.skip, p)
	}
	for i, n := range set.SkipNames {
		name, err := dns.ASCII(n)
		if err != nil {
			return set, s.Fault("skip_names", fmt.Sprintf("skip_names: %q is no domain", n))
		}
		set.SkipNames[i] = name
	}
	return set, nil
}

const day = 24 * time.Hour

// duration is Go's, and days beside.
func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		if d > 1000*time.Hour {
			return 1000 * day, err
		}
		return d * 24, err
	}
	return time.ParseDuration(text)
}
