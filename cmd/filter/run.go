package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/mail"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Exit statuses of `filter run`, which posthouse(8) describes.
const (
	exitRefused = 1 + iota
	exitDeferred
	exitDiscarded
	exitQuarantined
	exitFailed
)

// Of sysexits(3).
const (
	exitUsage  = 64
	exitData   = 65
	exitSystem = 71
	exitConfig = 78
)

// order is the command line of `filter run`, which `posthouse filter run` writes: so that posthouse, which calls it, need
// not speak with filters itself.
type order struct {
	config, directory, settings string
	private, json, verbose, tls bool
	role, from, client, name    string
	helo, login                 string
	to                          list
	filters                     []string
}

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func parseOrder(args []string) (*order, error) {
	o := &order{}
	f := flag.NewFlagSet("filter run", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", config.DefaultPath, "")
	f.StringVar(&o.directory, "directory", "", "")
	f.StringVar(&o.settings, "settings", "", "")
	f.BoolVar(&o.private, "private", false, "")
	f.BoolVar(&o.json, "json", false, "")
	f.BoolVar(&o.verbose, "verbose", false, "")
	f.BoolVar(&o.tls, "tls", false, "")
	f.StringVar(&o.role, "role", mta.RoleMX, "")
	f.StringVar(&o.from, "from", "", "")
	f.Var(&o.to, "to", "")
	f.StringVar(&o.client, "client", "", "")
	f.StringVar(&o.name, "name", "", "")
	f.StringVar(&o.helo, "helo", "", "")
	f.StringVar(&o.login, "login", "", "")
	err := f.Parse(args)
	o.filters = f.Args()
	if err == nil && len(o.filters) == 0 {
		err = errors.New("no filter named")
	}
	return o, err
}

// run is `filter run`: it puts the message on standard input to filters, and tells what they made of it.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	fail := func(code int, err error) int {
		fmt.Fprintf(errOut, "posthouse: filter run: %v\n", err)
		return code
	}
	o, err := parseOrder(args)
	if err != nil {
		return fail(exitUsage, err)
	}
	c, err := config.Read(o.config)
	if err != nil {
		fmt.Fprintln(errOut, err) // each line says where it belongs
		return exitConfig
	}
	opt, err := host.FromConfig(c, o.private)
	if err != nil {
		return fail(exitConfig, err)
	}
	content, err := readMessage(in, opt.MaxMessageSize)
	if err != nil {
		return fail(exitData, err)
	}
	e, err := o.event(c, content)
	if err != nil {
		return fail(exitUsage, err)
	}
	dir, err := o.place(&opt, errOut)
	if err != nil {
		return fail(exitSystem, err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	h, err := host.New(ctx, opt)
	if err != nil {
		return fail(exitUsage, err)
	}
	defer h.Close()
	return o.try(ctx, h, host.Trial{Event: *e, Content: content}, out, fail)
}

// place makes the folders of this run: what works beside it, filters' stores included, is not touched.
func (o *order) place(opt *host.Options, errOut io.Writer) (string, error) {
	dir, err := os.MkdirTemp("", "posthouse-run-")
	if err != nil {
		return "", err
	}
	opt.Enabled, opt.Run, opt.State, opt.Spool = o.filters, filepath.Join(dir, "run"), filepath.Join(dir, "state"), filepath.Join(dir, "spool")
	if o.directory != "" {
		opt.Directory = o.directory
	}
	if o.settings != "" {
		opt.Settings = o.settings
	}
	for _, p := range []*string{&opt.Directory, &opt.Settings} {
		if *p, err = filepath.Abs(*p); err != nil {
			return dir, err
		}
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	opt.Log = maillog.New(maillog.NewText(errOut, level))
	self, err := os.Executable()
	if err != nil {
		return dir, err
	}
	opt.Launcher = filepath.Join(filepath.Dir(self), "filter-run")
	return dir, os.MkdirAll(filepath.Join(opt.Spool, "tmp"), 0o700)
}

func (o *order) try(ctx context.Context, h *host.Host, t host.Trial, out io.Writer, fail func(int, error) int) int {
	for _, s := range h.Status() {
		if s.State != "running" {
			return fail(exitFailed, fmt.Errorf("%s does not run: %s", s.Name, s.Error))
		}
	}
	result, err := h.Try(ctx, t)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fail(exitSystem, err)
	}
	tell := showOutcome
	if o.json {
		tell = writeOutcome
	}
	if err := tell(out, h.Status(), result, t.Content); err != nil {
		return fail(exitSystem, err)
	}
	if result.Failed() {
		return exitFailed
	}
	return map[string]int{
		host.TrialRefused: exitRefused, host.TrialDeferred: exitDeferred, host.TrialDiscarded: exitDiscarded, host.TrialQuarantined: exitQuarantined,
	}[result.Fate]
}

// readMessage reads a message and gives it CR LF line ends.
func readMessage(in io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the message is larger than the %d octets that smtpd takes", limit)
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	if bytes.HasPrefix(b, []byte("From ")) { // of an mbox
		_, b, _ = bytes.Cut(b, []byte("\r\n"))
	}
	return b, nil
}

// event is the session that the message is to come by.
func (o *order) event(c *config.Config, content []byte) (*mta.Event, error) {
	e := &mta.Event{Session: "filter-run", Role: o.role, Listener: "filter-run", Name: o.name, Login: o.login, Helo: o.helo, ESMTP: true, Body: mta.Body7Bit, Size: int64(len(content))}
	if bytes.ContainsFunc(content, func(r rune) bool { return r >= 0x80 }) {
		e.Body = mta.Body8BitMIME
	}
	if o.tls {
		e.TLS, e.Cipher = "TLSv1.3", "TLS_AES_128_GCM_SHA256"
	}
	switch o.role {
	case mta.RoleMX, mta.RoleSubmission, mta.RoleLMTP:
		if o.client == "" {
			o.client = "192.0.2.1" // a network of examples (RFC 5737)
		}
	case mta.RoleLocal:
		if o.client == "" {
			e.Local, e.UID = true, uint32(os.Getuid())
		}
	default:
		return nil, fmt.Errorf("--role %q: allowed: mx, submission, local, lmtp", o.role)
	}
	if o.client != "" {
		at, err := netip.ParseAddrPort(o.client)
		if err != nil {
			ip, err := netip.ParseAddr(o.client)
			if err != nil {
				return nil, fmt.Errorf("--client: %w", err)
			}
			at = netip.AddrPortFrom(ip, 54321)
		}
		e.Client = at
		if e.Helo == "" && o.name == "" {
			e.Helo = "[" + at.Addr().String() + "]"
		}
	}
	if e.Helo == "" {
		e.Helo = o.name
	}
	return e, o.envelope(e, c, content)
}

// envelope is the sender and the recipients, by default those that the message names itself.
func (o *order) envelope(e *mta.Event, c *config.Config, content []byte) error {
	from := o.from
	if from == "" {
		if m, err := mail.ReadMessage(bytes.NewReader(content)); err == nil {
			from = strings.TrimSpace(m.Header.Get("Return-Path"))
		}
	}
	if from = strings.Trim(from, "<>"); from != "" {
		var err error
		if e.Sender, err = mta.ParseAddress(from); err != nil {
			return fmt.Errorf("--from %s: %w", from, err)
		}
	}
	to := o.to
	if len(to) == 0 {
		to = list{c.Postmaster}
	}
	for _, r := range to {
		if r = strings.Trim(r, "<>"); !strings.Contains(r, "@") {
			r += "@" + c.Hostname
		}
		a, err := mta.ParseAddress(r)
		if err != nil {
			return fmt.Errorf("--to %s: %w", r, err)
		}
		e.Rcpts = append(e.Rcpts, mta.Recipient{Address: a})
		e.SMTPUTF8 = e.SMTPUTF8 || !a.IsASCII()
	}
	e.SMTPUTF8 = e.SMTPUTF8 || !e.Sender.IsASCII()
	return nil
}
