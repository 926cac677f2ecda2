package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of octets.
type Size int64

// Units of Size.
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
)

var sizeUnits = []struct {
	name string
	size Size
}{{"GB", GB}, {"MB", MB}, {"KB", KB}}

// UnmarshalText reads "0", "500", "64KB", "50MB" or "2GB".
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := string(b), Size(1)
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = number, u.size
			break
		}
	}
	n, err := number(text)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("%q is no size; allowed: a whole number, then KB, MB, GB or nothing, as in \"50MB\"", b)
	}
	*s = Size(n) * unit
	return nil
}

// String is the form that UnmarshalText reads, in the largest unit that divides the size.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// number reads a whole number without a sign.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

var timeUnits = []struct {
	name string
	time time.Duration
}{{"ms", time.Millisecond}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// ParseDuration reads "0", or a whole number and a unit: "500ms", "30s", "5m", "4h" or "5d".
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	for _, u := range timeUnits {
		if text, ok := strings.CutSuffix(s, u.name); ok {
			n, err := number(text)
			if err == nil && n <= math.MaxInt64/int64(u.time) {
				return time.Duration(n) * u.time, nil
			}
			break
		}
	}
	return 0, fmt.Errorf("%q is no time; allowed: a whole number, then ms, s, m, h or d, as in \"5m\"", s)
}

// FormatDuration is the form that ParseDuration reads, in the largest unit that divides the time.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	best := timeUnits[0]
	for _, u := range timeUnits {
		if d%u.time == 0 && u.time > best.time {
			best = u
		}
	}
	return strconv.FormatInt(int64(d/best.time), 10) + best.name
}

// Rate is so many events in a time. The zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// UnmarshalText reads "100/h"; the time is s, m, h or d. Empty text is the zero Rate.
func (r *Rate) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Rate{}
		return nil
	}
	count, unit, _ := strings.Cut(string(b), "/")
	n, err := number(count)
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	if err != nil || !ok || n < 1 || n > 1e9 {
		return fmt.Errorf("%q is no rate; allowed: 1 to 1000000000, then /s, /m, /h or /d, as in \"100/h\"", b)
	}
	*r = Rate{int(n), per}
	return nil
}

// String is the form that UnmarshalText reads.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	return strconv.Itoa(r.N) + "/" + strings.TrimPrefix(FormatDuration(r.Per), "1")
}
