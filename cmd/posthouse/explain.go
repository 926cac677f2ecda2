package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// exitNoHost is the exit code where no host takes an address's mail, and none will.
const exitNoHost = 68

// explainTime bounds all that one explanation asks others for.
const explainTime = time.Minute

// explanation is what would be done with a message for an address, as --json has it.
type explanation struct {
	Address  string     `json:"address"`
	From     *string    `json:"from,omitempty"` // "" = the null sender
	Role     string     `json:"role"`           // the listener that it would come in by: mx or submission
	LookedUp string     `json:"looked_up"`      // the address in the form that is looked up
	Domain   *ownDomain `json:"domain,omitempty"`
	Accepted string     `json:"accepted"` // from: anybody, users or nobody; verified: from anybody, where the next host says so
	Refusal  string     `json:"refusal,omitempty"`
	Found    string     `json:"found,omitempty"` // as what, in a domain of ours
	target
	Members      []target      `json:"members,omitempty"`
	Sender       string        `json:"sender,omitempty"` // that members off this host see, where it is rewritten
	Destinations []destination `json:"destinations,omitempty"`
	Limits       limits        `json:"limits"`
	Filters      []filterSeen  `json:"filters"`
	Notes        []string      `json:"notes,omitempty"` // what could not be found out
}

// ownDomain is a domain of ours.
type ownDomain struct {
	Name      string `json:"name"`
	Mailboxes string `json:"mailboxes"` // virtual or relay
	Aliases   string `json:"aliases,omitempty"`
	CatchAll  string `json:"catch_all,omitempty"`
}

// target is where the message goes for the address, or for a member of the alias that it is.
type target struct {
	Member      string `json:"address,omitempty"`
	Decision    string `json:"decision"` // mailbox, alias, remote, program, discard, refused or deferred
	Login       string `json:"login,omitempty"`
	Path        string `json:"path,omitempty"`    // of the mailbox
	Account     string `json:"account,omitempty"` // of the machine, whose mailbox it is
	Program     string `json:"program,omitempty"` // the name in [programs]
	Folder      string `json:"folder,omitempty"`
	Quota       int64  `json:"quota,omitempty"` // of the mailbox, octets
	Destination string `json:"destination,omitempty"`
	Way         string `json:"way,omitempty"` // what gives the destination: mx, smart_host, or route and its domain
	Reply       string `json:"reply,omitempty"`
	Cause       string `json:"cause,omitempty"`
	dest        mta.Destination
	temporary   bool
}

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ADDRESS",
		Short: "Say what would be done with a message for an address, without sending one",
		Args:  cobra.ExactArgs(1),
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	from := cmd.Flags().String("from", "", "the message is from `ADDRESS`; <> for the null sender")
	asJSON := cmd.Flags().Bool("json", false, "write a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e := &explainer{}
		to, err := parsePath(args[0])
		if err == nil && to.IsNull() {
			err = fmt.Errorf("the null address is no recipient")
		}
		if err == nil && cmd.Flags().Changed("from") {
			var a mta.Address
			a, err = parsePath(*from)
			e.from = &a
		}
		if err != nil {
			return &codedError{exitUsage, err}
		}
		e.log = maillog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutTime}))
		if e.cfg, err = config.Read(*path); err != nil {
			return coded(err)
		}
		if err := e.open(); err != nil {
			return opened(err)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), explainTime)
		defer cancel()
		x := e.explain(ctx, to)
		x.Address = args[0]
		out := bufio.NewWriter(cmd.OutOrStdout())
		if *asJSON {
			enc := json.NewEncoder(out)
			enc.SetIndent("", "  ")
			err = enc.Encode(x)
		} else {
			x.show(out)
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return coded(err)
		}
		return x.trouble()
	}
	return cmd
}

// opened gives what is wrong with a file that the configuration names its exit code.
func opened(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return coded(err)
	}
	return &codedError{exitConfig, err}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// parsePath reads an address with or without angle brackets; <> is the null address, and a local part alone is taken
// for postmaster only.
func parsePath(s string) (mta.Address, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
	switch {
	case s == "<>":
		return mta.Address{}, nil
	case strings.EqualFold(bare, "postmaster"):
		return mta.Address{Local: bare}, nil
	}
	a, err := mta.ParseAddress(bare)
	if err != nil {
		return a, fmt.Errorf("%s: %w", s, err)
	}
	return a, nil
}

// explainer has what the daemons have.
type explainer struct {
	cfg    *config.Config
	log    *maillog.Log
	from   *mta.Address
	router *route.Router
	out    *remote.Client
	trust  bool      // DNSSEC counts
	srs    *sign.SRS // nil: senders are not rewritten
}

// open opens what the configuration names, as queue-runner does, and changes nothing.
func (e *explainer) open() error {
	c := e.cfg
	users, err := new(userdb.Opener).Open(c, directory.Options{DropVerifiers: true, Log: e.log})
	if err != nil {
		return err
	}
	ro := route.FromConfig(c)
	ro.Aliases = userdb.Aliases(c, users)
	ro.Users = directory.NewMachine(c, users, nil)
	if c.SRS.Enabled {
		if e.srs, err = sign.OpenSRS(layout.SRSFile(c)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if e.srs != nil {
			ro.Returns = e.srs
		}
	}
	if e.router, err = route.New(ro); err != nil {
		return err
	}
	resolver, err := remote.ResolverFromConfig(c)
	if err != nil {
		return fmt.Errorf("outbound.resolver: %w", err)
	}
	e.trust = resolver.TrustsAD()
	o, err := remote.FromConfig(c)
	if err != nil {
		return err
	}
	o.Resolver = resolver
	if c.Outbound.MTASTS {
		o.STS, err = mtasts.Open(mtasts.Options{
			Dir: filepath.Join(c.State, "queue", "mta-sts"), ReadOnly: true, Resolver: resolver, TLS: tlsconf.Client(tlsconf.Verified, ""),
			Dial: resolver.Dialer(c.Outbound.IPv6, nil), Log: e.log,
		})
		if err != nil {
			return err
		}
	}
	e.out = remote.New(o)
	return nil
}

func (e *explainer) explain(ctx context.Context, to mta.Address) *explanation {
	r := e.router.Explain(ctx, to)
	x := &explanation{Role: "mx", LookedUp: r.Address.String(), Found: r.Via, target: e.target(r.Address, r.Decision)}
	x.Member = ""
	if e.from != nil {
		s := e.from.String()
		if x.From = &s; !e.from.IsNull() && e.router.Local(e.from.Domain) {
			x.Role = "submission"
		}
	}
	if d := r.Domain; d != nil {
		x.Domain = &ownDomain{Name: d.Name, Mailboxes: "virtual", Aliases: d.Aliases}
		if d.Relay {
			x.Domain.Mailboxes = "relay"
		}
		if !d.CatchAll.IsNull() {
			x.Domain.CatchAll = d.CatchAll.String()
		}
	}
	switch a := r.Accept; {
	case a.Reply.Code != 0:
		x.Accepted, x.Refusal = "nobody", a.Reply.String()
	case a.Ask != nil:
		x.Accepted = "verified"
	case a.Ours:
		x.Accepted = "anybody"
	default:
		x.Accepted = "users"
	}
	for _, m := range r.Members {
		x.Members = append(x.Members, e.target(m.Address, m.Decision))
	}
	e.rewritten(x, r)
	e.destinations(ctx, x)
	e.limits(x)
	e.filters(x)
	return x
}

// rewritten says under which sender the message goes on to members off this host.
func (e *explainer) rewritten(x *explanation, r route.Explanation) {
	foreign := e.from != nil && !e.from.IsNull() && !e.router.Local(e.from.Domain)
	if !foreign || !r.Owner.IsNull() || !slices.ContainsFunc(r.Members, func(m route.Member) bool { return m.Kind == route.Remote }) {
		return
	}
	switch {
	case !e.cfg.SRS.Enabled:
		x.Notes = append(x.Notes, "forwarded with its sender as it is (srs.enabled): SPF fails there")
	case e.srs == nil:
		x.Notes = append(x.Notes, "whether its sender is rewritten cannot be said: there is no secret that can be read in "+layout.SRSFile(e.cfg))
	default:
		a, err := e.srs.Forward(*e.from, r.Address.Domain)
		if err != nil {
			x.Notes = append(x.Notes, "forwarded with its sender as it is: "+err.Error())
			return
		}
		x.Sender = a.String()
	}
}

func (e *explainer) target(a mta.Address, d route.Decision) target {
	t := target{Member: a.String(), Decision: d.Kind.String(), dest: d.Dest}
	switch d.Kind {
	case route.Program:
		t.Program = d.Program
	case route.Mailbox:
		t.Login, t.Folder, t.Quota = d.Login.String(), d.Folder, d.Quota
		if t.Account = d.System; t.Account != "" {
			break
		}
		var err error
		if t.Path, err = maildir.Path(e.cfg.Mailboxes.Path, d.Login); err != nil {
			t.Cause = err.Error()
		}
	case route.Remote:
		t.Destination, t.Way = d.Dest.String(), e.router.Way(a)
	case route.Discard:
		t.Way = e.router.Way(a)
	case route.Refused, route.Deferred:
		t.Reply, t.temporary = d.Reply.String(), d.Kind == route.Deferred
		if d.Cause != nil {
			t.Cause = d.Cause.Error()
		}
	}
	return t
}

// trouble is the error for mail that would not get where it is to go.
func (x *explanation) trouble() error {
	var temporary error
	for _, t := range append([]target{x.target}, x.Members...) {
		switch {
		case t.Reply == "":
		case t.temporary:
			temporary = &codedError{exitTemporary, fmt.Errorf("mail would wait: %s", t.Reply)}
		default:
			return &codedError{exitNoUser, fmt.Errorf("mail would be returned: %s", t.Reply)}
		}
	}
	for _, d := range x.Destinations {
		switch {
		case d.Reply == "":
		case d.temporary:
			temporary = &codedError{exitTemporary, fmt.Errorf("mail would wait: %s", d.Reply)}
		default:
			return &codedError{exitNoHost, fmt.Errorf("mail would be returned: %s", d.Reply)}
		}
	}
	return temporary
}
