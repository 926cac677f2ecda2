package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// Bounds of a process's first moments and of its last.
const (
	startTimeout = 15 * time.Second
	endTimeout   = 3 * time.Second // from the wish to the SIGKILL
	maxReply     = 1 << 20         // octets of an answer
)

// process is one process of a filter. It is started by a goroutine that is locked to its thread: the process ends with it.
type process struct {
	client  *plugin.Client
	pid     int
	dir     string // its own: socket, temporary files, new bodies
	says    *says
	filter  proto.FilterClient
	gone    <-chan struct{} // closed when the process has ended
	info    info
	set     settings
	place   place
	started time.Time

	doubt  chan struct{} // holds one when a call was not answered
	misses atomic.Int32  // calls that were not answered, since the last that was

	calls int // under way; guarded by the slot's mutex
}

// maxMisses is how many calls in a row a process may leave without an answer.
const maxMisses = 10

// heard takes note of whether a call was answered: an error of the filter's is an answer too.
func (p *process) heard(err error) {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable:
		p.misses.Add(1)
		select {
		case p.doubt <- struct{}{}:
		default:
		}
	case codes.Canceled: // by us
	default:
		p.misses.Store(0)
	}
}

// alive says whether a process in doubt is worth keeping: it may be slow with one message, and do its work with others.
func (p *process) alive(ctx context.Context, o *Options) bool {
	if p.misses.Load() >= maxMisses {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	_, err := p.filter.Describe(ctx, &proto.DescribeRequest{})
	return err == nil || status.Code(err) == codes.Canceled
}

// dies says whether the process ends by itself now.
func (p *process) dies() bool {
	for late := time.Now().Add(dying); !p.ended(); time.Sleep(dying / 100) {
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

// ended says whether the process has ended. It may be a while until gone is closed: what the process has started may hold its
// pipes, and a busy machine may not have got to what it said at last.
func (p *process) ended() bool {
	var child unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.pid, &child, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return errors.Is(err, unix.ECHILD) || err == nil && child.Signo != 0
}

// info is what Describe said, checked.
type info struct {
	version, summary string
	stages           [proto.Stage_STAGE_DONE + 1]bool
	roles            []string // empty: all
	edits, parallel  bool
	reads            bool
}

// launch starts the filter and gets it ready for Activate: described, and configured. Where that fails nothing is left.
func (o *Options) launch(ctx context.Context, name string) (*process, error) {
	at, err := o.find(name)
	if err != nil {
		return nil, err
	}
	set, err := o.readSettings(name)
	if err != nil {
		return nil, err
	}
	return o.launchWith(ctx, name, at, set)
}

func (o *Options) launchWith(ctx context.Context, name string, at place, set settings) (*process, error) {
	p := &process{place: at, set: set, started: time.Now(), doubt: make(chan struct{}, 1), says: &says{log: o.Log, name: name}}
	if err := os.MkdirAll(filepath.Join(o.State, name), 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.dir, err = os.MkdirTemp(filepath.Join(o.Run, "plugins"), name+"-"); err != nil {
		return nil, err
	}
	if err = p.start(o, name, at.real); err == nil {
		err = p.introduce(ctx, o, name)
	}
	if err != nil {
		p.end()
		if first := p.says.firstLine(); first != "" {
			err = fmt.Errorf("%w (it said: %s)", err, first)
		}
		return nil, err
	}
	return p, nil
}

// place is where a filter's program is, and how it and the settings look.
type place struct {
	real            string
	program, config stamp
	options         string // what the process was told by the configuration
}

// find looks for a filter's program and settings; each may be changed at any time.
func (o *Options) find(name string) (place, error) {
	if !nameForm.MatchString(name) {
		return place{}, fmt.Errorf("%q is no name for a filter: a-z, 0-9 and - are allowed", name)
	}
	real, program, err := trusted(filepath.Join(o.Directory, name), o.Owner)
	if err != nil {
		return place{}, err
	}
	_, config, err := trusted(o.settingsPath(name), o.Owner)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return place{}, err
	}
	return place{real, program, config, o.told()}, nil
}

// command is how the process is started: by the launcher, which takes away what it does not need.
func (o *Options) command(name, real, dir string) *exec.Cmd {
	path := filepath.Join(o.Directory, name)
	cmd := exec.Command(path)
	if o.Launcher != "" {
		state := filepath.Join(o.State, name)
		args := []string{
			"--write=" + state, "--write=" + dir, "--read=" + filepath.Join(o.Run, "filters"), "--read=" + filepath.Join(o.Spool, "tmp"),
			"--read=" + filepath.Dir(path), "--read=" + filepath.Dir(real), "--read=" + o.settingsPath(name),
		}
		if name == "dkim" {
			args = append(args, "--read="+o.Keys)
		}
		cmd = exec.Command(o.Launcher, append(args, "--", path)...)
	}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + dir, "TMPDIR=" + dir, plugin.EnvUnixSocketDir + "=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *process) start(o *Options, name, real string) error {
	out := p.says
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: proto.CookieKey, MagicCookieValue: proto.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{proto.ProtocolVersion: {proto.PluginName: caller{}}},
		Cmd:              o.command(name, real, p.dir),
		SkipHostEnv:      true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     o.StartTimeout,
		Stderr:           out,
		SyncStdout:       out,
		SyncStderr:       out,
		// Off: the library reads what a filter logs without checking it, and its own lines say what our events say.
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply))},
	})
	addr, err := p.client.Start()
	p.pid, _ = strconv.Atoi(p.client.ID()) // "" where nothing was started
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n") // the library writes essays
		return fmt.Errorf("start: %s", oneLine(text, 300))
	}
	if ua, ok := addr.(*net.UnixAddr); !ok || filepath.Dir(ua.Name) != p.dir {
		return fmt.Errorf("start: it listens at %q, want a unix socket in %s", addr, plugin.EnvUnixSocketDir)
	}
	protocol, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	raw, err := protocol.Dispense(proto.PluginName)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c, ok := raw.(called)
	if !ok {
		return errors.New("connect: no filter")
	}
	p.filter, p.gone = c.FilterClient, c.gone
	return nil
}

// caller is our end of go-plugin's plugin.
type caller struct{ plugin.NetRPCUnsupportedPlugin }

type called struct {
	proto.FilterClient
	gone <-chan struct{}
}

func (caller) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("smtpd is no filter")
}

func (caller) GRPCClient(ctx context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return called{proto.NewFilterClient(conn), ctx.Done()}, nil
}

// introduce asks who the filter is and tells it where it is.
func (p *process) introduce(ctx context.Context, o *Options, name string) error {
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	d, err := p.filter.Describe(ctx, &proto.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	p.info = info{version: oneLine(d.Version, 64), summary: oneLine(d.Summary, 200), edits: d.Edits, parallel: d.Parallel && !d.Edits, reads: d.ReadsMessage}
	for _, s := range d.Stages {
		if s > 0 && int(s) < len(p.info.stages) {
			p.info.stages[s] = true
		}
	}
	p.info.roles = p.set.roles
	if len(p.info.roles) == 0 {
		p.info.roles = d.Roles
	}
	site := proto.Site{
		Hostname: o.Site.Hostname, AuthservId: o.Site.AuthservId, LocalDomains: o.Site.LocalDomains, Resolvers: o.Site.Resolvers,
		StateDirectory: filepath.Join(o.State, name),
	}
	switch name {
	case "dkim":
		site.DkimKeys = o.Site.DkimKeys
	case "dmarc":
		site.SubmitSocket = o.Site.SubmitSocket
	case "greylist":
		site.SharedStoreUrl = o.Site.SharedStoreUrl
	}
	r, err := p.filter.Configure(ctx, &proto.ConfigureRequest{Site: &site, Settings: p.set.text})
	switch {
	case err != nil:
		return fmt.Errorf("configure: %w", err)
	case r.Error != "" && r.Line > 0:
		return fmt.Errorf("%s:%d: %s", p.set.path, r.Line, oneLine(r.Error, 300))
	case r.Error != "":
		return fmt.Errorf("%s: %s", p.set.path, oneLine(r.Error, 300))
	}
	return nil
}

func (p *process) activate(ctx context.Context, o *Options) error {
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	r, err := p.filter.Activate(ctx, &proto.ActivateRequest{})
	if err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	if r.Error != "" {
		return fmt.Errorf("activate: %s", oneLine(r.Error, 300))
	}
	return nil
}

// wants says whether the filter is to be asked.
func (p *process) wants(stage proto.Stage, role string) bool {
	return p.info.stages[stage] && (len(p.info.roles) == 0 || slices.Contains(p.info.roles, role))
}

// end asks the process to end, ends it where it does not, and whatever it has started with it.
func (p *process) end() {
	if p.client != nil {
		if p.pid > 1 && p.ended() {
			killStarted(p.dir) // or the library waits for what has the pipes
		}
		ended := make(chan struct{})
		go func() { // it waits for pipes that a grandchild may hold open for ever
			defer close(ended)
			p.client.Kill()
		}()
		wait := func() bool {
			t := time.NewTimer(endTimeout)
			defer t.Stop()
			select {
			case <-ended:
				return true
			case <-t.C:
				return false
			}
		}
		asked := wait()
		if p.pid > 1 {
			_ = syscall.Kill(-p.pid, syscall.SIGKILL) // its group; mostly there is nobody left
			killStarted(p.dir)
			if !asked {
				wait() // what stood before is gone when the next one takes its store
			}
		}
	}
	_ = os.RemoveAll(p.dir)
}
