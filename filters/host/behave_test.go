package host_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/proto"
)

// behave is the program of a filter, good or bad, and does not return.
func behave(name string) {
	switch {
	case name == "silent":
		hang()
	case name == "deaf":
		fmt.Printf("1|%d|unix|%s/nobody|grpc\n", proto.ProtocolVersion, os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
		hang()
	case name == "garbage":
		fmt.Println(strings.Repeat("\x00|garbage\x1b[2J", 1000))
		hang()
	case name == "flood":
		for {
			fmt.Print(strings.Repeat("x", 1<<16))
		}
	case name == "short":
		fmt.Fprintln(os.Stderr, "cannot open the store")
		os.Exit(3)
	case name == "newer":
		fmt.Printf("1|%d|unix|/tmp/x|grpc\n", proto.ProtocolVersion+1)
		hang()
	case name == "network":
		fmt.Printf("1|%d|tcp|127.0.0.1:25|grpc\n", proto.ProtocolVersion)
		hang()
	}
	if strings.HasPrefix(name, "hears") {
		filters.Serve(&hearer{program{name: name}})
	}
	filters.Serve(&program{name: name})
}

// eat takes memory until there is none: its bound is what the process has now, and a little more.
func eat() {
	b, err := os.ReadFile("/proc/self/statm")
	var pages uint64
	if err == nil {
		_, err = fmt.Sscan(string(b), &pages)
	}
	if err == nil {
		bound := pages*uint64(os.Getpagesize()) + 128<<20
		err = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: bound, Max: bound})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	all := make([][]byte, 1000)
	for i := range all {
		all[i] = make([]byte, 16<<20)
	}
	runtime.KeepAlive(all)
}

// hang never returns. An empty select would not do: without cgo the runtime ends a program that has nothing else to do.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// unplug ends the connections of this process, and takes away the name of its socket.
func unplug() error {
	if err := os.RemoveAll(os.Getenv("PLUGIN_UNIX_SOCKET_DIR")); err != nil {
		return err
	}
	for fd := 3; fd < 100; fd++ {
		if _, err := syscall.Getpeername(fd); err == nil {
			_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
	return nil
}

// program is a filter whose name and settings say what it does.
type program struct {
	name string
	site *filters.Site
	set  struct {
		Tag  string `toml:"tag"`
		Slow int    `toml:"slow"` // milliseconds that each start takes
	}
}

// hearer writes down what became of messages.
type hearer struct{ program }

func (h *hearer) Done(_ context.Context, session, id string, fate filters.Fate) {
	f, err := os.OpenFile(filepath.Join(h.site.StateDirectory, "fates"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, session, id, fate)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		filters.Log().Error("fates", "err", err)
	}
}

func (p *program) Describe() filters.Info {
	i := filters.Info{Name: p.name, Version: "1.0", Summary: "for tests", Edits: true}
	if strings.HasPrefix(p.name, "beside") {
		i.Edits, i.Parallel = false, true
	}
	if strings.HasPrefix(p.name, "noop") {
		i.EnvelopeOnly, i.Edits = p.name != "noop-reads", false
	}
	if p.name == "mxonly" {
		i.Roles = []string{filters.RoleMX}
	}
	return i
}

func (p *program) Configure(site *filters.Site, s filters.Settings) error {
	p.site = site
	p.set.Tag = "[tag]"
	if err := s.Decode(&p.set); err != nil {
		return err
	}
	time.Sleep(time.Duration(p.set.Slow) * time.Millisecond)
	if p.set.Tag == "bad" {
		return s.Fault("tag", "bad is not allowed")
	}
	return nil
}

func (p *program) Activate(context.Context) error {
	if p.set.Tag == "inactive" {
		return fmt.Errorf("the store is locked")
	}
	return nil
}

func (p *program) Connect(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	return &filters.Verdict{Notes: []filters.Note{{Method: "iprev", Result: "pass", Properties: []filters.Property{{Type: "policy", Name: "iprev", Value: e.Client.Addr().String()}}, Hidden: true}}}, nil
}

func (p *program) Recipient(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	local := strings.Trim(e.Recipient[:max(strings.LastIndex(e.Recipient, "@"), 0)], `"`)
	if what, ok := strings.CutPrefix(local, "do-"); ok {
		return p.do(ctx, what, e)
	}
	return nil, nil
}

// Message does what the fields X-Do of the message say, each "NAME WHAT", when they name this filter.
func (p *program) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if strings.HasPrefix(p.name, "noop") {
		return nil, nil
	}
	header, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	var v *filters.Verdict
	for _, f := range header {
		if f.Name != "X-Do" {
			continue
		}
		if who, what, _ := strings.Cut(f.Value, " "); who == p.name {
			if v, err = p.do(ctx, what, e); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func (p *program) do(ctx context.Context, what string, e *filters.Event) (*filters.Verdict, error) {
	v := &filters.Verdict{}
	what, rest, _ := strings.Cut(what, " ")
	switch what {
	case "tag":
		header, err := e.Message.Header()
		if err != nil {
			return nil, err
		}
		v.ReplaceHeader("Subject", 1, p.set.Tag+" "+filters.Get(header, "Subject"))
	case "hang":
		hang()
	case "unplug": // lives on, where nobody can reach it
		if err := unplug(); err != nil {
			return nil, err
		}
		hang()
	case "sleep":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return nil, err
		}
		time.Sleep(d)
	case "crash":
		os.Exit(1)
	case "eat":
		eat()
	case "leave": // a process that holds its pipes
		cmd := exec.Command("/bin/sleep", "300")
		cmd.Stderr = os.NewFile(2, "stderr") // the library has another one in os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		os.Exit(1)
	case "killed": // as the kernel does when memory runs out
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		hang()
	case "nurse": // leaves a process that outlives it, in a group of its own
		cmd := exec.Command("/bin/sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		v.AddHeader("X-Child", fmt.Sprint(cmd.Process.Pid))
	case "panic":
		panic("a filter's fault")
	case "error":
		return nil, fmt.Errorf("no license")
	case "reject":
		return filters.Rejected(rest), nil
	case "crlf":
		return filters.Rejected("no\r\n250 yes\x1b[2J"), nil
	case "badcode":
		return &filters.Verdict{Action: filters.Reject, Code: 250, Text: "no"}, nil
	case "split": // the first filter does the first half, the second the other
		first, second, _ := strings.Cut(rest, "|")
		if p.name == "one" {
			return p.do(ctx, first, e)
		}
		return p.do(ctx, second, e)
	case "421":
		return &filters.Verdict{Action: filters.TempFail, Code: 421, Text: "go away"}, nil
	case "tempfail":
		return filters.TempFailed(rest), nil
	case "discard":
		return &filters.Verdict{Action: filters.Discard}, nil
	case "accept":
		return &filters.Verdict{Action: filters.Accept}, nil
	case "quarantine":
		return filters.Quarantined(rest), nil
	case "score":
		_, err := fmt.Sscan(rest, &v.Score)
		return v, err
	case "delay":
		v.Delay = time.Hour
	case "top":
		v.AddHeader("X-Top", rest)
	case "bottom":
		v.AppendHeader("X-Bottom", rest)
	case "fold":
		v.AddHeader("X-Folded", "a\n\tb\r\n c")
	case "inject":
		v.AddHeader("X-Good", "one")
		v.AddHeader("X-Bad", "a\r\nBcc: everybody@here.test")
	case "badname":
		v.AddHeader("X Bad:", "a")
	case "remove":
		v.RemoveHeader(rest, 0)
	case "remove2":
		v.RemoveHeader(rest, 2)
	case "replace":
		v.ReplaceHeader(rest, 2, "replaced")
	case "huge":
		for range 100 {
			v.AppendHeader("X-Huge", strings.Repeat("0123456789\n ", 100)+"end")
		}
	case "body":
		return v, v.ReplaceBody(e, strings.NewReader("new\nbody\r\nwith \xe4\rline ends"))
	case "bigbody":
		return v, v.ReplaceBody(e, io.LimitReader(zeros{}, 2<<20))
	case "halfbody": // a good body, and then an edit that is none
		if err := v.ReplaceBody(e, strings.NewReader("new\n")); err != nil {
			return nil, err
		}
		v.AddRecipient("not an address")
	case "sender":
		v.ChangeSender(rest)
	case "addrcpt":
		v.AddRecipient(rest)
	case "rmrcpt":
		v.RemoveRecipient(rest)
	case "folder":
		v.Deliver("bob@here.test", rest)
	case "note":
		v.Notes = []filters.Note{{Method: "spf", Result: "pass", Reason: `it "is"`, Properties: []filters.Property{{Type: "smtp", Name: "mailfrom", Value: e.Sender}}}}
	case "notes": // as many as a verdict may have
		for range 64 {
			n := filters.Note{Method: "x", Result: "pass"}
			for range 16 {
				n.Properties = append(n.Properties, filters.Property{Type: "policy", Name: "x", Value: strings.Repeat("x", 512)})
			}
			v.Notes = append(v.Notes, n)
		}
	case "quotes":
		all := strings.Repeat(`"`, 1000)
		long := strings.Repeat("x", 64)
		v.Notes = []filters.Note{{Method: long, Result: long, Reason: all, Properties: []filters.Property{{Type: "policy", Name: long, Value: all}}}}
	case "twobodies":
		for range 2 {
			if err := v.ReplaceBody(e, strings.NewReader("new\n")); err != nil {
				return nil, err
			}
		}
	case "badnote":
		v.Notes = []filters.Note{{Method: "spf; dkim=pass", Result: "pass"}}
	case "seen":
		v.AddHeader("X-Seen", fmt.Sprintf("notes=%d score=%g sender=%s rcpts=%d", len(e.Notes), e.Score, e.Sender, len(e.Recipients)))
	case "peek":
		var can []string
		for path := range strings.FieldsSeq(rest) {
			if f, err := os.Open(path); err == nil {
				_ = f.Close()
				can = append(can, path)
			}
		}
		v.AddHeader("X-Peek", strings.Join(can, " ")+fmt.Sprintf(" stdin=%v env=%d", isNull(os.Stdin), len(os.Environ())))
	case "strike":
		pid := 0
		if _, err := fmt.Sscan(rest, &pid); err != nil {
			return nil, err
		}
		v.AddHeader("X-Strike", fmt.Sprint(syscall.Kill(pid, 0) == nil))
	case "write":
		if err := os.WriteFile(p.site.StateDirectory+"/x", []byte("x"), 0o600); err != nil {
			return nil, err
		}
		v.AddHeader("X-Wrote", "yes")
	}
	return v, nil
}

func isNull(f *os.File) bool {
	st, err := f.Stat()
	null, nerr := os.Stat("/dev/null")
	return err == nil && nerr == nil && os.SameFile(st, null)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
