package filters

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Settings are the table [settings] of the filter's file.
type Settings struct{ text string }

// NewSettings is for tests: text is a TOML document with a table [settings].
func NewSettings(text string) Settings { return Settings{text} }

// SettingsError says what is wrong in the settings, and in which line of the file, 0 = unknown.
type SettingsError struct {
	Line int
	Msg  string
}

func (e *SettingsError) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

// Decode reads the settings into v, a pointer to a struct with toml tags that holds the defaults. A key that v does not know
// is an error.
func (s Settings) Decode(v any) error {
	var doc struct {
		Settings toml.Primitive `toml:"settings"`
	}
	md, err := toml.Decode(s.text, &doc)
	if err == nil && md.IsDefined("settings") {
		err = md.PrimitiveDecode(doc.Settings, v)
	}
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		return &SettingsError{syntax.Position.Line, syntax.Message}
	case err != nil:
		return &SettingsError{0, err.Error()}
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return s.Fault(key[len(key)-1], "unknown key "+key.String())
	}
	return nil
}

// Fault makes an error of a key's value, with the line where it stands.
func (s Settings) Fault(key, msg string) error {
	n := 0
	for line := range strings.Lines(s.text) {
		n++
		name, _, ok := strings.Cut(line, "=")
		if ok && strings.Trim(strings.TrimSpace(name), `"'`) == key || strings.Trim(strings.TrimSpace(line), "[]") == "settings."+key {
			return &SettingsError{n, msg}
		}
	}
	return &SettingsError{0, msg}
}
