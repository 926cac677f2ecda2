package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
)

// Bounds of the settings.
const (
	maxRules    = 1000
	maxPatterns = 1000
)

// rule is one [[settings.rule]]. All that it names has to be so; of a list one is enough. Patterns are regular expressions of
// RE2, which take time in proportion to what they read, without regard to capitals.
type rule struct {
	Name string `toml:"name"`

	Role           []string            `toml:"role"`
	Client         []string            `toml:"client"` // networks
	ClientName     []string            `toml:"client_name"`
	Helo           []string            `toml:"helo"`
	LoggedIn       *bool               `toml:"logged_in"`
	TLS            *bool               `toml:"tls"`
	Sender         []string            `toml:"sender"`
	Recipient      []string            `toml:"recipient"` // one of them is enough
	Header         map[string][]string `toml:"header"`    // by field
	Lacks          []string            `toml:"lacks"`     // fields, of which one is not there
	LargerThan     string              `toml:"larger_than"`
	AttachmentName []string            `toml:"attachment_name"`
	AttachmentType []string            `toml:"attachment_type"`

	Action    string   `toml:"action"`
	Text      string   `toml:"text"`
	Score     float64  `toml:"score"`
	AddHeader []string `toml:"add_header"` // "Name: value"
	Folder    string   `toml:"folder"`

	clients                        []netip.Prefix
	clientName, helo, sender, rcpt []*regexp.Regexp
	attachmentName, attachmentType []*regexp.Regexp
	header                         map[string][]*regexp.Regexp
	larger                         int64
	act                            filters.Action
}

var actions = map[string]filters.Action{
	"": filters.Continue, "accept": filters.Accept, "reject": filters.Reject, "tempfail": filters.TempFail, "discard": filters.Discard, "quarantine": filters.Quarantine,
}

var fieldName = regexp.MustCompile(`^[!-9;-~]+$`)

// compile checks a rule.
func (r *rule) compile() error {
	var ok bool
	if r.act, ok = actions[r.Action]; !ok {
		return fmt.Errorf("action = %q; allowed: accept, reject, tempfail, discard, quarantine, or none", r.Action)
	}
	if r.act == filters.Continue && r.Score == 0 && len(r.AddHeader) == 0 && r.Folder == "" {
		return errors.New("it does nothing: set action, score, add_header or folder")
	}
	if math.IsNaN(r.Score) || math.IsInf(r.Score, 0) {
		return errors.New("score is no number")
	}
	for _, role := range r.Role {
		if !slices.Contains([]string{filters.RoleMX, filters.RoleSubmission, filters.RoleLocal, filters.RoleLMTP}, role) {
			return fmt.Errorf("role: %q; allowed: mx, submission, local, lmtp", role)
		}
	}
	for _, n := range r.Client {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return fmt.Errorf("client: %q is no network; allowed: as in \"192.0.2.0/24\"", n)
		}
		r.clients = append(r.clients, p)
	}
	for _, h := range r.AddHeader {
		if name, value, has := strings.Cut(h, ":"); !has || !fieldName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("add_header: %q; allowed: as in \"X-Name: value\"", h)
		}
	}
	var err error
	if r.larger, err = size(r.LargerThan); err != nil {
		return err
	}
	return r.patterns()
}

func (r *rule) patterns() error {
	for _, k := range []struct {
		key  string
		from []string
		to   *[]*regexp.Regexp
	}{
		{"client_name", r.ClientName, &r.clientName}, {"helo", r.Helo, &r.helo}, {"sender", r.Sender, &r.sender}, {"recipient", r.Recipient, &r.rcpt},
		{"attachment_name", r.AttachmentName, &r.attachmentName}, {"attachment_type", r.AttachmentType, &r.attachmentType},
	} {
		var err error
		if *k.to, err = compile(k.from); err != nil {
			return fmt.Errorf("%s: %w", k.key, err)
		}
	}
	r.header = map[string][]*regexp.Regexp{}
	for name, list := range r.Header {
		if !fieldName.MatchString(name) {
			return fmt.Errorf("header: %q is no name of a field", name)
		}
		var err error
		if r.header[strings.ToLower(name)], err = compile(list); err != nil {
			return fmt.Errorf("header.%s: %w", name, err)
		}
	}
	return nil
}

func compile(list []string) ([]*regexp.Regexp, error) {
	if len(list) > maxPatterns {
		return nil, fmt.Errorf("%d patterns; allowed: %d", len(list), maxPatterns)
	}
	var out []*regexp.Regexp
	for _, s := range list {
		re, err := regexp.Compile("(?i)" + s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		out = append(out, re)
	}
	return out, nil
}

// size reads "10MB".
func size(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"", 1}} {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n < 1 || n > 1<<40/u.factor {
				break
			}
			return n * u.factor, nil
		}
	}
	return 0, fmt.Errorf("larger_than = %q; allowed: as in \"10MB\"", text)
}

// early says that the rule asks for nothing of the message, so that it is decided at RCPT, for each recipient.
func (r *rule) early() bool {
	return len(r.header) == 0 && len(r.Lacks) == 0 && r.larger == 0 && len(r.attachmentName) == 0 && len(r.attachmentType) == 0 &&
		(r.act == filters.Reject || r.act == filters.TempFail) && len(r.AddHeader) == 0 && r.Folder == "" && r.Score == 0
}

func matches(list []*regexp.Regexp, texts ...string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return slices.ContainsFunc(texts, re.MatchString) })
}

// envelope says whether all that the rule asks of session and envelope is so.
func (r *rule) envelope(e *filters.Event, rcpts ...string) bool {
	ip := e.Client.Addr().Unmap()
	return (len(r.Role) == 0 || slices.Contains(r.Role, e.Role)) &&
		(len(r.clients) == 0 || ip.IsValid() && slices.ContainsFunc(r.clients, func(p netip.Prefix) bool { return p.Contains(ip) })) &&
		matches(r.clientName, e.ClientName) && matches(r.helo, e.Helo) &&
		(r.LoggedIn == nil || *r.LoggedIn == (e.Login != "")) && (r.TLS == nil || *r.TLS == (e.TLSVersion != "")) &&
		matches(r.sender, e.Sender) && matches(r.rcpt, rcpts...)
}
