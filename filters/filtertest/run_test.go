package filtertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

// pupil is a filter with one fault, or none.
type pupil struct {
	fault string
	site  *filters.Site
	calls atomic.Int64
	seen  atomic.Bool
}

func (p *pupil) Describe() filters.Info {
	i := filters.Info{Name: "pupil", Version: "1", Summary: "has a fault", Edits: true}
	switch p.fault {
	case "name":
		i.Name = "Pupil/1"
	case "version":
		i.Version = ""
	case "roles":
		i.Roles = []string{"pop3"}
	case "parallel":
		i.Parallel = true
	case "no edits":
		i.Edits = false
	}
	return i
}

func (p *pupil) Configure(site *filters.Site, s filters.Settings) error {
	p.site = site
	if p.fault == "takes all" {
		return nil
	}
	if p.fault == "early" {
		return os.WriteFile(filepath.Join(site.StateDirectory, "store"), nil, 0o600)
	}
	var set struct {
		Word string `toml:"word"`
	}
	err := s.Decode(&set)
	if err == nil && set.Word == "bad" && p.fault != "lax" {
		err = s.Fault("word", "it is bad")
	}
	return err
}

func (p *pupil) lock() string { return filepath.Join(p.site.StateDirectory, "lock") }

func (p *pupil) Activate(context.Context) error {
	f, err := os.OpenFile(p.lock(), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (p *pupil) Close() error {
	if p.fault == "keeps the lock" || p.site == nil {
		return nil
	}
	if err := os.Remove(p.lock()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (p *pupil) Sender(context.Context, *filters.Event) (*filters.Verdict, error) {
	p.seen.Store(true)
	return nil, nil
}

func (p *pupil) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	header, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	v := &filters.Verdict{Notes: []filters.Note{{Method: "x-pupil", Result: "pass"}}}
	v.AddHeader("X-Pupil", fmt.Sprint(len(header)))
	switch n := p.calls.Add(1); p.fault {
	case "remembers":
		v.AddHeader("X-Count", fmt.Sprint(n))
	case "needs Sender":
		v.AddHeader("X-Seen", fmt.Sprint(p.seen.Load()))
	case "panics":
		return v, fmt.Errorf("no sender in %s", e.Sender[:1]) // there is none sometimes
	case "slow":
		time.Sleep(700 * time.Millisecond)
	case "note":
		v.Notes[0].Method = "two words"
	case "header":
		v.AddHeader("X Pupil", "x")
	case "code":
		return &filters.Verdict{Action: filters.Reject, Code: 250}, nil
	case "recipient":
		v.AddRecipient("nobody")
	}
	return v, nil
}

// TestPupil is run by itself, with a fault.
func TestPupil(t *testing.T) {
	s := filtertest.Suite{New: func() filters.Filter { return &pupil{fault: os.Getenv("PUPIL")} }, Bad: []string{"[settings]\nword = \"bad\"\n"}, Deadline: 30 * time.Second}
	if os.Getenv("PUPIL") == "slow" {
		s.Deadline = 200 * time.Millisecond
	}
	filtertest.Run(t, s)
}

func TestEachFaultIsFound(t *testing.T) {
	for _, c := range []struct{ fault, part, want string }{
		{"name", "describe", `Name "Pupil/1"; want`},
		{"version", "describe", `Version ""; want`},
		{"roles", "describe", `Roles has "pop3"; want`},
		{"parallel", "describe", "Edits and Parallel"},
		{"no edits", "restart", "edits, though Describe says that there are none"},
		{"takes all", "configure", "it took\n"},
		{"lax", "configure", `word = "bad"`},
		{"early", "configure", "Configure has written"},
		{"keeps the lock", "restart", "it does not start with its settings: activate: "},
		{"remembers", "at_once", "beside others it got"},
		{"needs Sender", "no_memory", "Message, without the calls before it: got"},
		{"panics", "hostile", "the null sender: at message: rpc error: code = Internal"},
		{"slow", "restart", "at message: rpc error: code = DeadlineExceeded"},
		{"note", "restart", "a note without a method and a result that are keywords"},
		{"header", "restart", "X Pupil"},
		{"code", "restart", "code 250 does not go with its action"},
		{"recipient", "restart", `"nobody"`},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestPupil$/^"+c.part+"$")
			cmd.Env = append(os.Environ(), "PUPIL="+c.fault)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("got %v, want a failure with %q in\n%s", err, c.want, out)
			}
		})
	}
}
