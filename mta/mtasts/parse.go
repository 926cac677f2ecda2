package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Mode is what a policy asks of senders (RFC 8461 5).
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // no delivery to a host that the policy does not allow
	Testing Mode = "testing" // delivery, and a report
	None    Mode = "none"    // no policy any more
)

// maxAge is the longest time that a policy may be kept (RFC 8461 3.2).
const maxAge = 31557600 * time.Second

// Policy is what a domain says about its mail exchangers.
type Policy struct {
	Mode   Mode
	MaxAge time.Duration
	MX     []string // lower case, A-labels; "*." in front stands for one label
	Lines  []string // of the policy, as it came: reports quote them (RFC 8460 4.4)
}

// ErrInvalid says that what was found is no policy, or no record.
var ErrInvalid = errors.New("not a valid MTA-STS policy")

// ParsePolicy reads a policy (RFC 8461 3.2). Of a key that comes twice the first one counts, unknown keys are passed over.
func ParsePolicy(text string) (*Policy, error) {
	p := &Policy{}
	seen := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n\t "), "\n") {
		line = strings.TrimSuffix(line, "\r")
		p.Lines = append(p.Lines, line)
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimRight(key, " \t"), strings.Trim(value, " \t")
		switch _, again := seen[key]; {
		case !ok:
			return nil, fmt.Errorf("%w: %.80q has no colon", ErrInvalid, line)
		case key == "mx":
			mx, err := pattern(value)
			if err != nil {
				return nil, err
			}
			p.MX = append(p.MX, mx)
		case !again:
			seen[key] = value
		}
	}
	if v := seen["version"]; v != "STSv1" {
		return nil, fmt.Errorf("%w: version %.80q", ErrInvalid, v)
	}
	age, err := strconv.ParseUint(seen["max_age"], 10, 32)
	if err != nil || len(seen["max_age"]) > 10 {
		return nil, fmt.Errorf("%w: max_age %.80q", ErrInvalid, seen["max_age"])
	}
	p.MaxAge = min(time.Duration(age)*time.Second, maxAge)
	switch p.Mode = Mode(seen["mode"]); p.Mode {
	case Enforce, Testing:
		if len(p.MX) == 0 {
			return nil, fmt.Errorf("%w: no mx", ErrInvalid)
		}
	case None:
	default:
		return nil, fmt.Errorf("%w: mode %.80q", ErrInvalid, seen["mode"])
	}
	return p, nil
}

func pattern(s string) (string, error) {
	rest, wild := strings.CutPrefix(s, "*.")
	name, err := dns.ASCII(rest)
	if err != nil {
		return "", fmt.Errorf("%w: mx %.80q", ErrInvalid, s)
	}
	if wild {
		name = "*." + name
	}
	return name, nil
}

// Allows says whether a host is one of the policy's (RFC 8461 4.1); its name is in lower case and A-labels.
func (p *Policy) Allows(host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, mx := range p.MX {
		if mx == host || parent != "" && mx == "*."+parent {
			return true
		}
	}
	return false
}

// parseRecord reads the id out of the texts of _mta-sts.DOMAIN (RFC 8461 3.1). False: the domain has no policy; there is
// none too where several texts claim to tell its id.
func parseRecord(texts []string) (id string, ok bool) {
	found := 0
	for _, t := range texts {
		if !isRecord(t) {
			continue
		}
		found++
		id = recordID(t)
	}
	return id, found == 1 && id != ""
}

func isRecord(text string) bool {
	version, _, _ := strings.Cut(text, ";")
	return strings.TrimRight(version, " \t") == "v=STSv1"
}

func recordID(text string) string {
	id := ""
	for i, field := range strings.Split(text, ";") {
		key, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		if i > 0 && key == "id" && id == "" {
			id = value
		}
	}
	if len(id) > 32 || strings.ContainsFunc(id, notAlphanumeric) {
		return ""
	}
	return id
}

func notAlphanumeric(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9')
}
