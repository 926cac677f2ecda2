package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// maxSettings bounds NAME.toml, octets.
const maxSettings = 1 << 20

// settings are what NAME.toml says.
type settings struct {
	path      string
	text      string // for the filter: [settings] where it stands, all else blank
	timeout   time.Duration
	onFailure string
	roles     []string // empty: the filter's own choice
}

// filterTable is [filter] of NAME.toml.
type filterTable struct {
	Timeout   string   `toml:"timeout"`
	OnFailure string   `toml:"on_failure"`
	Roles     []string `toml:"roles"`
}

// settingsPath is where a filter's settings are.
func (o *Options) settingsPath(name string) string { return filepath.Join(o.Settings, name+".toml") }

// readSettings reads NAME.toml; one that is not there says nothing.
func (o *Options) readSettings(name string) (settings, error) {
	s := settings{path: o.settingsPath(name), timeout: o.Timeout, onFailure: o.OnFailure}
	real, _, err := trusted(s.path, o.Owner)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	b, _, err := conffile.Read(real, maxSettings)
	if err != nil {
		return s, err
	}
	return s, s.parse(string(b))
}

func (s *settings) parse(text string) error {
	var doc struct {
		Filter   filterTable    `toml:"filter"`
		Settings map[string]any `toml:"settings"`
	}
	md, err := toml.Decode(text, &doc)
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: %s", s.path, syntax.Position.Line, syntax.Message)
	case err != nil:
		return fmt.Errorf("%s: %w", s.path, err)
	}
	for _, key := range md.Undecoded() {
		if key[0] != "settings" {
			return fmt.Errorf("%s: unknown key %s; allowed: [filter] with timeout, on_failure and roles, and [settings]", s.path, key)
		}
	}
	if err := s.take(doc.Filter); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.text = onlySettings(text)
	var again struct {
		Settings map[string]any `toml:"settings"`
	}
	if _, err := toml.Decode(s.text, &again); err != nil || !reflect.DeepEqual(doc.Settings, again.Settings) {
		return fmt.Errorf("%s: write [filter] and [settings] as tables with a line each for their names", s.path)
	}
	return nil
}

func (s *settings) take(f filterTable) error {
	if f.Timeout != "" {
		d, err := time.ParseDuration(f.Timeout)
		if err != nil || d < 100*time.Millisecond || d > 10*time.Minute {
			return fmt.Errorf("filter.timeout: %q; allowed: \"100ms\" to \"10m\"", f.Timeout)
		}
		s.timeout = d
	}
	switch f.OnFailure {
	case OnFailureTempFail, OnFailureAccept:
		s.onFailure = f.OnFailure
	case "":
	default:
		return fmt.Errorf("filter.on_failure: %q; allowed: \"tempfail\", \"accept\"", f.OnFailure)
	}
	for _, r := range f.Roles {
		if !slices.Contains([]string{mta.RoleMX, mta.RoleSubmission, mta.RoleLocal, mta.RoleLMTP}, r) {
			return fmt.Errorf("filter.roles: %q; allowed: \"mx\", \"submission\", \"local\", \"lmtp\"", r)
		}
	}
	s.roles = f.Roles
	return nil
}

// onlySettings blanks the lines that do not belong to [settings], so that those that do keep their numbers.
func onlySettings(text string) string {
	var b strings.Builder
	ours := false
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "["); ok {
			name = strings.TrimLeft(name, "[ \t")
			ours = strings.HasPrefix(name, "settings]") || strings.HasPrefix(name, "settings.") || ours && !strings.HasPrefix(name, "filter]")
		}
		if ours {
			b.WriteString(line)
		} else {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
