package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// TargetKind tells the forms of Target apart.
type TargetKind string

// The forms of Target. The zero kind is no target at all.
const (
	ToSMTP    TargetKind = "smtp"
	ToSMTPS   TargetKind = "smtps"
	ToLMTP    TargetKind = "lmtp"
	ToProgram TargetKind = "program"
	ToDiscard TargetKind = "discard"
	ToError   TargetKind = "error"
)

// Target is where a route leads. A host is taken as it is named: its MX records are not asked for.
type Target struct {
	Kind  TargetKind
	Host  string    // smtp, smtps, lmtp: a name in A-labels, or an IP address without brackets
	Port  int       // smtp (default 25), smtps (default 465), lmtp
	Path  string    // lmtp over a Unix socket
	Name  string    // program: the key of its table in [programs]
	Reply mta.Reply // error: 550, or 450 for an enhanced code that begins with 4
}

const targetForms = `"smtp:HOST[:PORT]", "smtps:HOST[:PORT]", "lmtp:HOST:PORT", "lmtp:unix:/PATH", "program:NAME", "discard" or "error:5.1.2 TEXT"`

// UnmarshalText reads one of the forms of [[route]] to. Empty text is the zero Target.
func (t *Target) UnmarshalText(b []byte) error {
	text := string(b)
	kind, rest, _ := strings.Cut(text, ":")
	v := Target{Kind: TargetKind(kind)}
	err := errors.New("unknown kind")
	switch v.Kind {
	case "":
		if text == "" {
			*t = Target{}
			return nil
		}
	case ToSMTP:
		err = v.hostPort(rest, 25)
	case ToSMTPS:
		err = v.hostPort(rest, 465)
	case ToLMTP:
		err = v.lmtp(rest)
	case ToProgram:
		v.Name, err = rest, nil
		if rest == "" {
			err = errors.New("no name")
		}
	case ToDiscard:
		if err = nil; text != string(ToDiscard) {
			err = errors.New("something after it")
		}
	case ToError:
		err = v.refusal(rest)
	}
	if err != nil {
		return fmt.Errorf("%q leads nowhere: %w; allowed: %s", text, err, targetForms)
	}
	*t = v
	return nil
}

// String is the form that UnmarshalText reads.
func (t Target) String() string {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	switch t.Kind {
	case ToSMTP, ToSMTPS:
		return string(t.Kind) + ":" + host + ":" + strconv.Itoa(t.Port)
	case ToLMTP:
		if t.Path != "" {
			return "lmtp:unix:" + t.Path
		}
		return "lmtp:" + host + ":" + strconv.Itoa(t.Port)
	case ToProgram:
		return "program:" + t.Name
	case ToError:
		return "error:" + t.Reply.Enhanced + " " + t.Reply.Text
	}
	return string(t.Kind)
}

// hostPort reads HOST[:PORT]; port 0 as the default says that there is none.
func (t *Target) hostPort(s string, port int) error {
	host, digits, named := s, "", false
	if in, ok := strings.CutPrefix(s, "["); ok {
		var after string
		if host, after, ok = strings.Cut(in, "]"); !ok {
			return errors.New("bracket without an end")
		}
		if digits, named = strings.CutPrefix(after, ":"); !named && after != "" {
			return errors.New("something after the bracket")
		}
	} else {
		host, digits, named = strings.Cut(s, ":")
	}
	if named {
		n, err := number(digits)
		if err != nil || n < 1 || n > 65535 {
			return errors.New("port not within 1 and 65535")
		}
		port = int(n)
	}
	if port == 0 {
		return errors.New("no port")
	}
	t.Port = port
	return t.setHost(host)
}

func (t *Target) setHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		t.Host = ip.String()
		return nil
	}
	name, _, err := domainName(host)
	t.Host = name
	return err
}

func (t *Target) lmtp(s string) error {
	path, ok := strings.CutPrefix(s, "unix:")
	if !ok {
		return t.hostPort(s, 0)
	}
	if !strings.HasPrefix(path, "/") {
		return errors.New("path not absolute")
	}
	t.Path = path
	return nil
}

// refusal reads an enhanced status code (RFC 3463) of class 4 or 5 and a text.
func (t *Target) refusal(s string) error {
	code, text, _ := strings.Cut(s, " ")
	parts := strings.Split(code, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return errors.New("no enhanced status code of class 4 or 5")
	}
	for _, p := range parts[1:] {
		if n, err := number(p); err != nil || n > 999 {
			return errors.New("no enhanced status code")
		}
	}
	if text == "" || len(text) > 400 || !printable(text) {
		return errors.New("no text of one line")
	}
	t.Reply = mta.Reply{Code: 550, Enhanced: code, Text: text}
	if parts[0] == "4" {
		t.Reply.Code = 450
	}
	return nil
}

// printable says whether s can stand in a reply: blanks and visible ASCII (RFC 5321 4.2, textstring).
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
