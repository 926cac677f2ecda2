package maillog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// hostile would begin a line of its own, with an event of its own, if a handler let it.
const hostile = "x\nevent=forged id=1 \"\x1b[2J"

// fill gives every part of v a value that is not zero.
func fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth == 0 {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	case reflect.TypeFor[error]():
		v.Set(reflect.ValueOf(errors.New(hostile)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth-1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth-1)
		}
	}
}

// each calls every event of the package, and do after each with the name of its function.
func each(t *testing.T, l *maillog.Log, do func(function string)) {
	t.Helper()
	v := reflect.ValueOf(l)
	if v.NumMethod() == 0 {
		t.Fatal("there are no events")
	}
	for i := range v.NumMethod() {
		m := v.Method(i)
		var args []reflect.Value
		for j := range m.Type().NumIn() {
			arg := reflect.New(m.Type().In(j)).Elem()
			fill(arg, 6)
			args = append(args, arg)
		}
		m.Call(args)
		do(v.Type().Method(i).Name)
	}
}

// last is a handler that keeps the last record.
type last struct{ r slog.Record }

func (l *last) Enabled(context.Context, slog.Level) bool { return true }
func (l *last) Handle(_ context.Context, r slog.Record) error {
	l.r = r
	return nil
}
func (l *last) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *last) WithGroup(string) slog.Handler      { return l }

var eventLine = regexp.MustCompile(`^time=\S+ level=(debug|info|warn|error) event=[a-z0-9]+(-[a-z0-9]+)*( .*)?\n$`)

func TestAnEventIsOneLineWhateverItsFieldsHold(t *testing.T) {
	var b bytes.Buffer
	each(t, maillog.New(maillog.NewText(&b, slog.LevelDebug)), func(function string) {
		for line := range strings.Lines(b.String()) {
			if !eventLine.MatchString(line) || strings.ContainsRune(line, 0x1b) {
				t.Errorf("%s: got %q, want a line that begins with time, level and event, and hostile text quoted", function, line)
			}
		}
		if b.Len() == 0 {
			t.Errorf("%s: got no line", function)
		}
		b.Reset()
	})
}

func TestEachFieldHasANameInTheJournal(t *testing.T) {
	plain, journal := &last{}, &last{}
	log := maillog.New(plain)
	each(t, log, func(function string) {
		var keys, names []string
		plain.r.Attrs(func(a slog.Attr) bool {
			keys = append(keys, a.Key)
			return true
		})
		if err := maillog.NewJournal(journal).Handle(t.Context(), plain.r); err != nil {
			t.Fatal(err)
		}
		journal.r.Attrs(func(a slog.Attr) bool {
			names = append(names, a.Key)
			if !regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`).MatchString(a.Key) {
				t.Errorf("%s: journald drops the field %q", function, a.Key)
			}
			return true
		})
		if len(names) != len(keys)+1 {
			t.Errorf("%s: fields %v became %v: each needs a name in fields.go", function, keys, names)
		}
		slices.Sort(names)
		if len(slices.Compact(names)) != len(keys)+1 {
			t.Errorf("%s: two fields share a name: %v", function, names)
		}
		if !strings.HasPrefix(journal.r.Message, plain.r.Message+" ") && len(keys) > 0 {
			t.Errorf("%s: got the message %q, want the event and its fields", function, journal.r.Message)
		}
	})
}

// TestEachEventIsInTheManual looks for the names in the pages beside the programs; posthouse(8) has those that all
// daemons log.
func TestEachEventIsInTheManual(t *testing.T) {
	var own, common strings.Builder
	for _, name := range []string{"smtpd", "queue-runner", "pop3d", "as-user", "posthouse"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "cmd", name, name+".8"))
		if err != nil {
			t.Fatal(err)
		}
		if name == "posthouse" {
			common.Write(b)
		} else {
			own.Write(b)
		}
	}
	daemon, err := os.ReadFile("daemon.go")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile("cert.go") // of the operator's command alone
	if err != nil {
		t.Fatal(err)
	}
	daemon = append(daemon, cert...)
	plain := &last{}
	each(t, maillog.New(plain), func(function string) {
		pages, where := own.String(), "the page of its program"
		if bytes.Contains(daemon, []byte(") "+function+"(")) {
			pages, where = common.String(), "posthouse.8"
		}
		name := regexp.MustCompile(`(?m)^\.It .*\b` + regexp.QuoteMeta(plain.r.Message) + `( |$)`)
		if !name.MatchString(pages) {
			t.Errorf("%s: the event %s is missing in %s", function, plain.r.Message, where)
		}
	})
}

func TestWhatIsNotSaidIsLeftOut(t *testing.T) {
	var b bytes.Buffer
	l := maillog.New(maillog.NewText(&b, slog.LevelInfo))
	l.Stopped("smtpd", nil)
	if _, got, _ := strings.Cut(b.String(), " "); got != "level=info event=stopped program=smtpd\n" {
		t.Errorf("got %q, want no err", got)
	}
}

func TestALogThatIsNoneWritesNothing(t *testing.T) {
	var none *maillog.Log
	none.Ready("smtpd")
	(&maillog.Log{}).Ready("smtpd")
}

func TestTheLevelHoldsEventsBack(t *testing.T) {
	var b bytes.Buffer
	l := maillog.New(maillog.NewJSON(&b, slog.LevelWarn))
	l.Ready("smtpd")
	l.RunsAsRoot("smtpd")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"level":"warn","event":"runs-as-root","program":"smtpd"`) {
		t.Errorf("got %q, want the warning alone", got)
	}
}
