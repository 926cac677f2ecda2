package filters_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/proto"
)

// program is a filter with one stage.
type program struct {
	message func(e *filters.Event) (*filters.Verdict, error)
}

func (*program) Describe() filters.Info { return filters.Info{Name: "program", Version: "1"} }

func (p *program) Message(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	return p.message(e)
}

// whole has all stages.
type whole struct{ program }

func (*whole) Describe() filters.Info {
	return filters.Info{Name: "whole", Roles: []string{filters.RoleMX}, Edits: true, EnvelopeOnly: true, Summary: "\xff"}
}
func (*whole) Connect(context.Context, *filters.Event) (*filters.Verdict, error) {
	return filters.Rejected("connect"), nil
}
func (*whole) Hello(context.Context, *filters.Event) (*filters.Verdict, error) {
	return filters.TempFailed("hello"), nil
}
func (*whole) Sender(context.Context, *filters.Event) (*filters.Verdict, error) {
	return filters.Quarantined("sender"), nil
}
func (*whole) Recipient(context.Context, *filters.Event) (*filters.Verdict, error) {
	return &filters.Verdict{Action: filters.Accept, Delay: -time.Second}, nil
}
func (*whole) Done(context.Context, string, string, filters.Fate)  {}
func (*whole) Configure(_ *filters.Site, s filters.Settings) error { return s.Decode(&struct{}{}) }
func (*whole) Activate(context.Context) error                      { return errors.New("the store\xff is locked") }

func TestDescribeNamesTheStagesThatThereAreMethodsFor(t *testing.T) {
	for _, c := range []struct {
		f    filters.Filter
		want string
	}{
		{&program{}, `name:"program" version:"1" stages:STAGE_MESSAGE reads_message:true`},
		{&whole{}, `name:"whole" summary:"?" stages:STAGE_CONNECT stages:STAGE_HELLO stages:STAGE_SENDER stages:STAGE_RECIPIENT stages:STAGE_MESSAGE stages:STAGE_DONE roles:"mx" edits:true`},
	} {
		d, err := filters.OnWire(c.f).Describe(t.Context(), nil)
		if got := strings.ReplaceAll(d.String(), "  ", " "); err != nil || got != c.want {
			t.Errorf("got %s, %v\nwant %s", got, err, c.want)
		}
	}
}

func TestEachStageReachesItsMethod(t *testing.T) {
	w, p := filters.OnWire(&whole{}), filters.OnWire(&program{})
	for _, c := range []struct {
		name string
		ask  func(proto.FilterServer) (*proto.Verdict, error)
		want proto.Action
		text string
	}{
		{"Connect", func(s proto.FilterServer) (*proto.Verdict, error) { return s.Connect(t.Context(), &proto.Event{}) }, proto.Action_ACTION_REJECT, "connect"},
		{"Hello", func(s proto.FilterServer) (*proto.Verdict, error) { return s.Hello(t.Context(), &proto.Event{}) }, proto.Action_ACTION_TEMPFAIL, "hello"},
		{"Sender", func(s proto.FilterServer) (*proto.Verdict, error) { return s.Sender(t.Context(), &proto.Event{}) }, proto.Action_ACTION_QUARANTINE, "sender"},
		{"Recipient", func(s proto.FilterServer) (*proto.Verdict, error) { return s.Recipient(t.Context(), &proto.Event{}) }, proto.Action_ACTION_ACCEPT, ""},
	} {
		if v, err := c.ask(w); err != nil || v.Action != c.want || v.Text != c.text || v.DelayMs != 0 {
			t.Errorf("%s: got %v, %v", c.name, v, err)
		}
		if v, err := c.ask(p); err != nil || v.Action != proto.Action_ACTION_CONTINUE {
			t.Errorf("%s without a method: got %v, %v", c.name, v, err)
		}
	}
	if r, err := w.Activate(t.Context(), nil); err != nil || r.Error != "the store? is locked" {
		t.Errorf("Activate: got %v, %v", r, err)
	}
	if _, err := w.Done(t.Context(), &proto.DoneRequest{}); err != nil {
		t.Errorf("Done: %v", err)
	}
}

// verdict is what a filter's Message comes to on the wire.
func verdict(t *testing.T, e *proto.Event, message func(e *filters.Event) (*filters.Verdict, error)) (*proto.Verdict, error) {
	t.Helper()
	return filters.OnWire(&program{message}).Message(t.Context(), e)
}

func TestAFaultOfOneCallIsItsErrorAlone(t *testing.T) {
	for what, message := range map[string]func(*filters.Event) (*filters.Verdict, error){
		"panic: index\xff": nil,
		"no licence? here": func(*filters.Event) (*filters.Verdict, error) { return nil, errors.New("no licence\xfe here") },
	} {
		code := codes.Unknown
		if message == nil {
			code, what = codes.Internal, "panic: index?"
			message = func(*filters.Event) (*filters.Verdict, error) { panic("index\xff") }
		}
		if v, err := verdict(t, &proto.Event{}, message); v != nil || status.Code(err) != code || status.Convert(err).Message() != what {
			t.Errorf("got %v, %v; want %s: %s", v, err, code, what)
		}
	}
	if v, err := verdict(t, &proto.Event{}, func(*filters.Event) (*filters.Verdict, error) { return nil, nil }); err != nil || v.Action != proto.Action_ACTION_CONTINUE {
		t.Errorf("no verdict: got %v, %v", v, err)
	}
}

// TestHeaderValuesAreMended: a filter that takes a value from a message and gives it back is not to fail for what others
// have written there.
func TestHeaderValuesAreMended(t *testing.T) {
	words := strings.TrimSuffix(strings.Repeat("twelve chars ", 100), " ")
	five, six := strings.Repeat(" twelve chars", 5), strings.Repeat(" twelve chars", 6)
	folded := five[1:] + strings.Repeat("\n"+six, 15) + "\n" + five // the name stands before the first
	long := strings.Repeat("x", 2000)
	for _, c := range []struct{ name, value, want string }{
		{"nothing", "", ""},
		{"short", "a b", "a b"},
		{"other octets than UTF-8", "gr\xfc\xdfe", "gr\xfc\xdfe"},
		{"CR and NUL", "a\rb\x00c", "a b c"},
		{"folded already", "a\r\n b\n\tc", "a\n b\n\tc"},
		{"a line end that folds nothing is smtpd's to refuse", "a\nBcc: x", "a\nBcc: x"},
		{"long", words, folded},
		{"long, of one word", long, long},
		{"long, one word and another", long + " x", long + "\n x"},
		{"long, with blanks alone", strings.Repeat(" ", 1200), strings.Repeat(" ", 1200)},
	} {
		v, err := verdict(t, &proto.Event{}, func(*filters.Event) (*filters.Verdict, error) {
			v := &filters.Verdict{}
			v.AddHeader("X-Name", c.value)
			v.AppendHeader("X-Name", c.value)
			v.ReplaceHeader("X-Name", 1, c.value)
			return v, nil
		})
		if err != nil || len(v.Edits) != 3 {
			t.Fatalf("%s: got %v, %v", c.name, v, err)
		}
		for i, got := range []string{string(v.Edits[0].GetAddHeader().GetValue()), string(v.Edits[1].GetAddHeader().GetValue()), string(v.Edits[2].GetReplaceHeader().GetValue())} {
			if got != c.want {
				t.Errorf("%s, edit %d: got\n%q\nwant\n%q", c.name, i, got, c.want)
			}
		}
	}
}

func TestTextOnTheWireIsUTF8(t *testing.T) {
	v, err := verdict(t, &proto.Event{}, func(*filters.Event) (*filters.Verdict, error) {
		v := filters.Rejected("no\xff")
		v.Notes = []filters.Note{{Method: "x\xff", Result: "y\xff", Reason: "\xff", Properties: []filters.Property{{Type: "\xff", Name: "\xff", Value: "\xff"}}}}
		v.ChangeSender("\xff@x")
		v.AddRecipient("\xff@x")
		v.RemoveRecipient("\xff@x")
		v.Deliver("\xff@x", "\xff")
		v.RemoveHeader("\xff", 0)
		return v, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := v.String(); strings.Count(got, "?") != 13 {
		t.Errorf("got %s", got)
	}
}

// content is a message of an event: prepend, and a file without its cuts.
func content(t *testing.T, prepend, file string, headerSize int, cuts ...*proto.Range) *proto.Event {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return &proto.Event{Message: &proto.Content{
		Id: "ID", Path: path, Size: int64(len(file)), HeaderSize: int64(headerSize), Prepend: []byte(prepend), Cuts: cuts, BodyPath: path + ".body",
	}}
}

func TestTheMessageIsReadAsItIsNow(t *testing.T) {
	const file = "A: 1\r\nB: 2\r\n folded\r\nC: 3\r\n\r\nbody\r\n"
	for _, c := range []struct {
		name     string
		e        *proto.Event
		rendered string
		fields   string
		body     string
	}{
		{"as it came", content(t, "", file, 27), file, "A=1 B=2 folded C=3", "body\r\n"},
		{"with fields in front", content(t, "X: y\r\n", file, 27), "X: y\r\n" + file, "X=y A=1 B=2 folded C=3", "body\r\n"},
		{"with cuts", content(t, "X: y\r\n", file, 27, &proto.Range{Offset: 0, Length: 6}, &proto.Range{Offset: 21, Length: 6}), "X: y\r\nB: 2\r\n folded\r\n\r\nbody\r\n", "X=y B=2 folded", "body\r\n"},
		{"without a header", content(t, "", "\r\nbody\r\n", 0), "\r\nbody\r\n", "", "body\r\n"},
		{"with no empty line", content(t, "", "A: 1\r\nno field\r\n", 6), "A: 1\r\nno field\r\n", "A=1", "no field\r\n"},
		{"of a header alone", content(t, "", "A: 1\r\n", 6), "A: 1\r\n", "A=1", ""},
		{"of nothing", content(t, "", "", 0), "", "", ""},
	} {
		_, err := verdict(t, c.e, func(e *filters.Event) (*filters.Verdict, error) {
			all, err := read(e.Message.Open())
			if err != nil {
				return nil, err
			}
			body, err := read(e.Message.Body())
			if err != nil {
				return nil, err
			}
			header, err := e.Message.Header()
			if err != nil {
				return nil, err
			}
			var fields []string
			for _, f := range header {
				fields = append(fields, f.Name+"="+f.Value)
				if !strings.Contains(c.rendered, f.Raw) {
					t.Errorf("%s: %q is not in the message", c.name, f.Raw)
				}
			}
			if got := strings.Join(fields, " "); all != c.rendered || body != c.body || got != c.fields || e.Message.Size() != int64(len(c.rendered)) {
				t.Errorf("%s: got %q of %d octets, body %q, fields %q", c.name, all, e.Message.Size(), body, got)
			}
			return nil, nil
		})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func read(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestAMessageThatWasNotAskedForCannotBeRead(t *testing.T) {
	e := &proto.Event{Message: &proto.Content{Id: "ID"}}
	if _, err := verdict(t, e, func(e *filters.Event) (*filters.Verdict, error) {
		_, err := e.Message.Header()
		return nil, err
	}); err == nil || !strings.Contains(err.Error(), "EnvelopeOnly") {
		t.Errorf("got %v", err)
	}
}

func TestANewBodyIsWrittenWhereItIsLookedFor(t *testing.T) {
	e := content(t, "", "A: 1\r\n\r\nold\r\n", 6)
	v, err := verdict(t, e, func(e *filters.Event) (*filters.Verdict, error) {
		v := &filters.Verdict{}
		return v, v.ReplaceBody(e, strings.NewReader("new\n"))
	})
	if err != nil || len(v.Edits) != 1 || v.Edits[0].GetReplaceBody() == nil {
		t.Fatalf("got %v, %v", v, err)
	}
	if b, err := os.ReadFile(e.Message.BodyPath); err != nil || string(b) != "new\n" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestSettingsTellTheLineOfAFault(t *testing.T) {
	type set struct {
		Word  string   `toml:"word"`
		List  []string `toml:"list"`
		Table struct {
			Key int `toml:"key"`
		} `toml:"table"`
	}
	for _, c := range []struct {
		text, msg string
		line      int
	}{
		{"", "", 0},
		{"[settings]\n", "", 0},
		{"\n\n[settings]\nword = \"good\"\nlist = [\"a\"]\n[settings.table]\nkey = 3\n", "", 0},
		{"\n[settings]\nword = \"bad\"\n", "it is bad", 3},
		{"\n\n\n[settings]\n\nwurd = \"x\"\n", "unknown key settings.wurd", 6},
		{"[settings]\n[settings.tible]\nkey = 1\n", "unknown key settings.tible", 2},
		{"[settings]\nword = \n", "expected value", 2},
		{"[settings]\nword = 1\n", "incompatible types", 0},
	} {
		s, got := filters.NewSettings(c.text), set{}
		err := s.Decode(&got)
		if err == nil && got.Word == "bad" {
			err = s.Fault("word", "it is bad")
		}
		var at *filters.SettingsError
		switch {
		case c.msg == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.msg != "" && (!errors.As(err, &at) || !strings.Contains(at.Msg, c.msg) || c.line > 0 && at.Line != c.line):
			t.Errorf("%q: got %v, want line %d: %s", c.text, err, c.line, c.msg)
		}
	}
	r, err := filters.OnWire(&program{}).Configure(t.Context(), &proto.ConfigureRequest{Settings: "[settings]\nx = 1\n"})
	if err != nil || r.Line != 2 || r.Error != "unknown key settings.x" {
		t.Errorf("without Configure: got %v, %v; want the fault of a key", r, err)
	}
}

func TestNotesAreFound(t *testing.T) {
	e := &filters.Event{Notes: []filters.Note{{Method: "spf", Result: "pass", Properties: []filters.Property{{"smtp", "mailfrom", "a@b"}, {"smtp", "mailfrom", "c@d"}}}, {Method: "dkim"}, {Method: "spf"}}}
	if got := e.Find("spf"); len(got) != 2 || got[0].Get("smtp", "mailfrom") != "a@b" || got[0].Get("smtp", "helo") != "" {
		t.Errorf("got %v", got)
	}
	if got := e.Find("arc"); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

func TestFileMessageIsThatOfAnEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(path, []byte("A: 1\n folded\nB: 2\n\nbody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := filters.FileMessage("ID", path, path+".body")
	if err != nil {
		t.Fatal(err)
	}
	header, err := m.Header()
	if body, berr := read(m.Body()); err != nil || berr != nil || body != "body\n" || filters.Get(header, "a") != "1 folded" || filters.MIMEHeader(header).Get("b") != "2" {
		t.Errorf("got %v %q, %v %v", header, body, err, berr)
	}
	v := &filters.Verdict{}
	v.AddHeader("X", "a\n b")
	v.RemoveHeader("Y", 1)
	v.AppendHeader("Z", "c")
	if got := fmt.Sprint(v.Added()); got != fmt.Sprint([]filters.Field{{Name: "X", Value: "a b", Raw: "X: a\n b\r\n"}, {Name: "Z", Value: "c", Raw: "Z: c\r\n"}}) {
		t.Errorf("got %s", got)
	}
}

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "serve") {
		filters.Serve(&program{})
	}
	os.Exit(m.Run())
}

func TestAFilterThatSomebodyStartsSaysWhatItIs(t *testing.T) {
	cmd := exec.Command(os.Args[0], "serve")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 64 || !strings.Contains(string(out), "is a filter for Posthouse: smtpd starts it") {
		t.Errorf("got %v, %q", err, out)
	}
}
