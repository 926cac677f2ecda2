package main

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/spool"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// transport is what is known of TLS with others. It lives as long as the daemon; a new configuration changes its resolver.
type transport struct {
	names   atomic.Pointer[names]
	sts     *mtasts.Cache
	results *tlsrpt.Recorder
	signs   atomic.Pointer[signer] // for reports
}

// names is how hosts are found.
type names struct {
	*dns.Resolver
	ipv6 bool
}

// openTransport opens the files in <state>/queue. Reports are put into the spool with w.
func openTransport(c *config.Config, w *spool.Writer, log *maillog.Log) (*transport, error) {
	t := &transport{}
	if err := t.configure(c); err != nil {
		return nil, err
	}
	dir, tls := filepath.Join(c.State, "queue"), tlsconf.Client(tlsconf.Verified, "")
	var err error
	t.sts, err = mtasts.Open(mtasts.Options{Dir: filepath.Join(dir, "mta-sts"), Resolver: t, TLS: tls, Dial: t.dial, Log: log})
	if err != nil {
		return nil, err
	}
	t.results, err = tlsrpt.Open(tlsrpt.Options{
		Settings: reporting(c), Dir: filepath.Join(dir, "tls"), Resolver: t, TLS: tls, Dial: t.dialPublic, Log: log,
		Mail: func(to mta.Address, content []byte) error { return t.enqueue(w, to, content) },
	})
	return t, err
}

// configure takes a configuration over. It changes nothing when it fails.
func (t *transport) configure(c *config.Config) error {
	r, err := remote.ResolverFromConfig(c)
	if err != nil {
		return err
	}
	t.names.Store(&names{r, c.Outbound.IPv6})
	if t.results != nil {
		t.results.Configure(reporting(c))
	}
	return nil
}

// reporting names postmaster of this host, who is always there, as the one to ask.
func reporting(c *config.Config) tlsrpt.Settings {
	a, _ := mta.ParseAddress("postmaster@" + c.Hostname)
	return tlsrpt.Settings{Reports: c.Outbound.TLSRPT, Hostname: c.Hostname, Contact: a}
}

// TXT implements mtasts.Resolver and tlsrpt.Resolver.
func (t *transport) TXT(ctx context.Context, name string) ([]string, error) {
	return t.names.Load().TXT(ctx, name)
}

func (t *transport) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	n := t.names.Load()
	return n.Dial(ctx, network, hostPort, n.ipv6, nil)
}

// dialPublic is for URLs that strangers give us: they must not lead into our own network.
func (t *transport) dialPublic(ctx context.Context, network, hostPort string) (net.Conn, error) {
	n := t.names.Load()
	return n.Dial(ctx, network, hostPort, n.ipv6, isPublic)
}

func isPublic(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) && a.Zone() == ""
}

// enqueue puts a report into the queue. Nobody is told when it cannot be delivered: tomorrow brings another.
func (t *transport) enqueue(w *spool.Writer, to mta.Address, content []byte) error {
	signature := ""
	if s := t.signs.Load(); s != nil {
		var err error
		if signature, err = s.Report(content); err != nil {
			return err
		}
	}
	in := w.Begin()
	if _, err := in.Write(content); err != nil {
		return err
	}
	return in.Commit(&mta.Envelope{
		Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: to, Notify: "NEVER"}}, Body: mta.Body7Bit, SMTPUTF8: !to.IsASCII(), Prepend: signature,
	})
}
