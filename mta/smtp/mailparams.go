package smtp

import (
	"strconv"
	"strings"
	"time"
)

// maxSeconds is what nine digits hold (RFC 2852 4, RFC 4865 4).
const maxSeconds = 999_999_999

// ParseBy reads the value of BY (RFC 2852 4): seconds, which may be less than none, and the mode: "R" or "N", with a "T"
// behind it for a trace. ErrParameter for anything else, and for R without a positive time.
func ParseBy(value string) (left time.Duration, mode string, err error) {
	number, mode, _ := strings.Cut(value, ";")
	mode = strings.ToUpper(mode)
	sign := time.Duration(1)
	switch {
	case strings.HasPrefix(number, "-"):
		sign, number = -1, number[1:]
	case strings.HasPrefix(number, "+"):
		number = number[1:]
	}
	left, err = parseSeconds(number)
	left *= sign
	returns := strings.HasPrefix(mode, "R")
	if err != nil || mode != "R" && mode != "RT" && mode != "N" && mode != "NT" || returns && left <= 0 {
		return 0, "", ErrParameter
	}
	return left, mode, nil
}

// ParseHoldFor reads the value of HOLDFOR (RFC 4865 4): seconds, at least one.
func ParseHoldFor(value string) (time.Duration, error) {
	d, err := parseSeconds(value)
	if d == 0 {
		err = ErrParameter
	}
	return d, err
}

// ParseHoldUntil reads the value of HOLDUNTIL (RFC 4865 4): a date-time of RFC 3339.
func ParseHoldUntil(value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(value))
	if err != nil {
		return time.Time{}, ErrParameter
	}
	return t.UTC(), nil
}

// ParsePriority reads the value of MT-PRIORITY (RFC 6710 4): -9 to 9, a plus sign being no part of it.
func ParsePriority(value string) (int, error) {
	digit, negative := strings.CutPrefix(value, "-")
	if len(digit) != 1 || !isDigit(digit[0]) || negative && digit == "0" {
		return 0, ErrParameter
	}
	n := int(digit[0] - '0')
	if negative {
		n = -n
	}
	return n, nil
}

func parseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxSeconds || len(s) > 9 {
		return 0, ErrParameter
	}
	return time.Duration(n) * time.Second, nil
}
