package filtertest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

// Suite says which filter is tested, and how.
type Suite struct {
	// New makes a filter that was never asked anything. It is called many times.
	New func() filters.Filter
	// Settings are the text of a NAME.toml that it works with here, without a network; "" = none.
	Settings string
	// Bad are texts of NAME.toml that it has to refuse.
	Bad []string
	// Messages are tried beside those of the suite. Their line ends may be LF.
	Messages []string
	// Site is where it works; what is empty has a value for tests, and no resolver answers.
	Site filters.Site
	// Deadline bounds each call about a session; default: 30 s.
	Deadline time.Duration
	// Remembers: its answers depend on those of before, as greylisting's do. Then they are not compared.
	Remembers bool
}

// Run tests the filter.
func Run(t *testing.T, s Suite) {
	s.fill()
	t.Run("describe", s.describe)
	t.Run("configure", s.configure)
	t.Run("restart", s.restart)
	t.Run("roles", s.roles)
	t.Run("hostile", s.hostile)
	t.Run("at once", s.atOnce)
	t.Run("no memory", s.noMemory)
}

func (s *Suite) fill() {
	if s.Deadline == 0 {
		s.Deadline = 30 * time.Second
	}
	if s.Site.Hostname == "" {
		s.Site.Hostname = "mx.example.net"
	}
	if s.Site.AuthservID == "" {
		s.Site.AuthservID = s.Site.Hostname
	}
	if s.Site.LocalDomains == nil {
		s.Site.LocalDomains = []string{"example.net"}
	}
	if s.Site.Resolvers == nil {
		s.Site.Resolvers = []string{"127.0.0.1:1"}
	}
}

var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// describe holds what a filter says of itself to what smtpd and `posthouse filter list` make of it.
func (s *Suite) describe(t *testing.T) {
	f := s.New()
	i := f.Describe()
	if !nameForm.MatchString(i.Name) {
		t.Errorf("Name %q; want 1 to 64 of a-z, 0-9 and -", i.Name)
	}
	for what, text := range map[string]string{"Version": i.Version, "Summary": i.Summary} {
		if text == "" || len(text) > 200 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%s %q; want a line of 1 to 200 octets", what, text)
		}
	}
	for _, r := range i.Roles {
		if !slices.Contains([]string{filters.RoleMX, filters.RoleSubmission, filters.RoleLocal, filters.RoleLMTP}, r) {
			t.Errorf("Roles has %q; want mx, submission, local", r)
		}
	}
	if i.Edits && i.Parallel {
		t.Error("Edits and Parallel: what edits runs alone, so that Parallel means nothing")
	}
	_, connect := f.(filters.Connecter)
	_, hello := f.(filters.Helloer)
	_, sender := f.(filters.SenderChecker)
	_, rcpt := f.(filters.RecipientChecker)
	_, message := f.(filters.MessageChecker)
	if !connect && !hello && !sender && !rcpt && !message {
		t.Error("it has no stage: want one of Connect, Hello, Sender, Recipient, Message with the types of package filters")
	}
	if _, done := f.(filters.DoneHearer); done && !message {
		t.Error("Done without Message: nothing is told of messages that it has not seen")
	}
}

// configure gives it good settings and bad ones.
func (s *Suite) configure(t *testing.T) {
	t.Run("has no effect yet", func(t *testing.T) {
		c, ok := s.New().(filters.Configurer)
		if !ok {
			t.Skip("no Configure")
		}
		site := s.Site
		site.StateDirectory = t.TempDir()
		if err := c.Configure(&site, filters.NewSettings(s.Settings)); err != nil && !strings.Contains(s.Settings, "[filter]") {
			t.Errorf("with its settings: %v", err)
		}
		if list, err := os.ReadDir(site.StateDirectory); err != nil || len(list) > 0 {
			t.Errorf("Configure has written %v to the state folder (%v): Activate is for that, when the process before has ended", list, err)
		}
	})
	bad := append([]string{"[settings]\nno-such-key-as-this = 1\n", "[settings]\nx = \n"}, s.Bad...)
	for n, text := range bad {
		t.Run(fmt.Sprintf("bad %d", n), func(t *testing.T) {
			h, err := newWorld(t, s, "").attach(t, text)
			if err == nil {
				h.Close()
				t.Errorf("it took\n%s", text)
			} else if m := err.Error(); strings.TrimSpace(m) == "" || strings.ContainsFunc(m, unicode.IsControl) {
				t.Errorf("%q is no error of one line", m)
			}
		})
	}
}

// restart ends it and starts another one in its folder.
func (s *Suite) restart(t *testing.T) {
	w, h := started(t, s)
	m := host.Trial{Event: session(s.role()), Content: []byte(sample)}
	try(t.Context(), t, h, "before", m)
	w.stop()
	next := newWorld(t, s, w.dir)
	try(t.Context(), t, next.start(t, s), "after", m)
}

// role is one that it works in.
func (s *Suite) role() string {
	var doc struct {
		Filter struct {
			Roles []string `toml:"roles"`
		} `toml:"filter"`
	}
	if _, err := toml.Decode(s.Settings, &doc); err == nil && len(doc.Filter.Roles) > 0 {
		return doc.Filter.Roles[0]
	}
	return append(s.New().Describe().Roles, filters.RoleMX)[0]
}

// roles puts everyday messages through all stages.
func (s *Suite) roles(t *testing.T) {
	_, h := started(t, s)
	asked := false
	for _, role := range []string{mta.RoleMX, mta.RoleSubmission, mta.RoleLocal, mta.RoleLMTP} {
		for n, text := range append([]string{sample}, s.Messages...) {
			o, ok := try(t.Context(), t, h, fmt.Sprintf("role %s, message %d", role, n), host.Trial{Event: session(role), Content: lineEnds(text)})
			asked = asked || ok && len(o.Answers) > 0
		}
	}
	if !asked {
		t.Error("it was asked nothing, by no role")
	}
}

func lineEnds(text string) []byte {
	return []byte(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"))
}

// hostile wants a verdict on everything: a failure would let a stranger choose what on_failure does.
func (s *Suite) hostile(t *testing.T) {
	_, h := started(t, s)
	all := hostile()
	for _, what := range slices.Sorted(maps.Keys(all)) {
		m := all[what]
		if m.Event.Role != s.role() {
			m.Event.Role = s.role()
		}
		try(t.Context(), t, h, what, m)
	}
}

// Of many sessions at the same time.
const (
	sessionsAtOnce = 16
	messagesEach   = 8
)

// atOnce asks from many sessions at the same time. Each message has to get what it gets alone.
func (s *Suite) atOnce(t *testing.T) {
	_, h := started(t, s)
	all := hostile()
	small := map[string]host.Trial{}
	for what, m := range all {
		if len(m.Content) < 4096 && !m.Late {
			m.Event.Role = s.role()
			small[what] = m
		}
	}
	names := slices.Sorted(maps.Keys(small))
	alone := map[string]string{}
	for _, what := range names {
		o, _ := try(t.Context(), t, h, what, small[what])
		alone[what] = summary(o)
	}
	var work sync.WaitGroup
	for n := range sessionsAtOnce {
		work.Go(func() {
			for k := range messagesEach {
				what := names[(n+k)%len(names)]
				o, ok := try(t.Context(), t, h, what, small[what])
				if got := summary(o); ok && !s.Remembers && got != alone[what] {
					t.Errorf("%s: beside others it got\n%s\nalone\n%s", what, got, alone[what])
				}
			}
		})
	}
	work.Wait()
}

// noMemory makes each call of a session again, the last first, of a filter that has seen nothing: as when the process was
// started again in the middle of a session.
func (s *Suite) noMemory(t *testing.T) {
	if s.Remembers {
		t.Skip("it remembers")
	}
	w, h := started(t, s)
	w.record = []call{}
	try(t.Context(), t, h, "recorded", host.Trial{Event: session(s.role()), Content: []byte(sample)})
	if len(w.record) == 0 {
		t.Fatal("it was asked nothing")
	}
	fresh, _ := started(t, s)
	for _, c := range slices.Backward(w.record) {
		ctx, cancel := context.WithTimeout(t.Context(), s.Deadline)
		got, err := c.again(ctx, fresh.client)
		cancel()
		if err != nil {
			t.Errorf("%s, without the calls before it: %v", c.method, err)
		} else if !protobuf.Equal(got, c.answer) {
			t.Errorf("%s, without the calls before it: got\n%v\nwant\n%v", c.method, got, c.answer)
		}
	}
}
