package userdb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// Bounds on LDAP.
const (
	queryTime  = 5 * time.Second // of a search, at the server
	idleTime   = time.Minute     // after which a connection that nobody uses is closed
	maxServers = 8
	maxNesting = 10 // of what is in an answer: the values of an attribute are six deep (RFC 4511 section 4.5.2)
)

// boundNesting has the library refuse what is no answer before it is read: each level holds a copy of all that is in it, so that
// a thousand of them around a megabyte were a gigabyte. The bound is one for the whole process, and set before any connection.
var boundNesting = sync.OnceFunc(func() { ber.MaxNestingDepth = maxNesting })

// access is what a url_file says of a directory.
type access struct {
	servers      []server // tried in turn
	dn, password string   // "": anonymous
}

type server struct {
	network, address string // as net.Dial has them
	name             string // of the certificate; "": a socket of this machine
	tls              bool   // from the first octet on
}

// readAccess returns the text of a url_file.
func readAccess(path string) (string, error) {
	b, _, err := conffile.Read(path, maxURL)
	return string(b), err
}

// parseAccess reads up to three lines: URLs between blanks, the name to bind as, its password. Its errors do not show the
// password.
func parseAccess(text string) (a access, err error) {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
	urls := strings.Fields(lines[0])
	switch {
	case len(urls) == 0 || len(urls) > maxServers || len(lines) > 3:
		return a, fmt.Errorf("allowed: up to three lines: one to %d URLs, as in ldaps://ldap.example.org; the DN to bind as; its password", maxServers)
	case len(lines) == 2 || len(lines) == 3 && (strings.TrimSpace(lines[1]) == "" || lines[2] == ""):
		return a, errors.New("a DN without a password, or a password without a DN")
	}
	for _, u := range urls {
		s, err := parseServer(u)
		if err != nil {
			return a, err
		}
		a.servers = append(a.servers, s)
	}
	if len(lines) == 3 {
		a.dn, a.password = strings.TrimSpace(lines[1]), lines[2]
		if err := checkBindName(a.dn); err != nil {
			return a, fmt.Errorf("the DN to bind as: %w", err)
		}
	}
	return a, nil
}

// checkBindName says what is wrong with a name to bind as. Active Directory takes USER@DOMAIN and DOMAIN\USER too (MS-ADTS section
// 5.1.1.1.1).
func checkBindName(name string) error {
	if !strings.Contains(name, "=") && strings.ContainsAny(name, `@\`) {
		return nil
	}
	_, err := ldap.ParseDN(name)
	return err
}

func parseServer(text string) (server, error) {
	if path, ok := strings.CutPrefix(text, "ldapi://"); ok {
		path, err := url.PathUnescape(path) // as %2frun%2fslapd%2fldapi, or as it is
		if err != nil || path != "" && !strings.HasPrefix(path, "/") {
			return server{}, fmt.Errorf("%q; allowed: ldapi:// and the path of a socket", text)
		}
		if path = strings.TrimRight(path, "/"); path == "" {
			path = "/run/slapd/ldapi"
		}
		return server{network: "unix", address: path}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		return server{}, errors.New("no URL of a server; allowed: ldap://HOST[:PORT], ldaps://HOST[:PORT], ldapi:///PATH") // it may be a password
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	}
	return server{network: "tcp", address: net.JoinHostPort(u.Hostname(), port), name: u.Hostname(), tls: u.Scheme == "ldaps"}, nil
}

// ldapPool has connections, each of them for one request at a time.
type ldapPool struct {
	access
	startTLS  bool
	clientTLS func(name string) *tls.Config
	turns     chan struct{} // holds one element for each connection in use

	mu   sync.Mutex // guards the rest
	idle []*ldapConn
	rest time.Time // until when nobody connects
}

func newLDAPPool(a access, startTLS bool) *ldapPool {
	boundNesting()
	return &ldapPool{access: a, startTLS: startTLS, turns: make(chan struct{}, maxConns),
		clientTLS: func(name string) *tls.Config { return tlsconf.Client(tlsconf.Verified, name) }}
}

// ldapConn is one connection.
type ldapConn struct {
	*ldap.Conn
	raw  *boundedConn
	last *time.Timer // closes it; nil while it is in use
}

// end closes a connection, though the server may neither read nor write.
func (c *ldapConn) end() {
	_ = c.raw.Close()
	_ = c.Conn.Close()
}

// boundedConn gives no more than what is left: the library reads what comes.
type boundedConn struct {
	net.Conn
	left atomic.Int64 // octets
}

func (c *boundedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left.Add(-int64(n)) < 0 {
		return 0, errLong
	}
	return n, err
}

var errLong = fmt.Errorf("an answer longer than %d octets", maxAnswer)

// do makes a request on a connection. One that has died meanwhile, as all do when the server is restarted, costs a second try
// and not a delay. Who waits for a turn and for the answer waits until the context's end.
func (p *ldapPool) do(ctx context.Context, request func(*ldapConn) error) error {
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for one of %d connections: %w", maxConns, ctx.Err())
	}
	defer func() { <-p.turns }()
	if c := p.take(); c != nil {
		dead, err := p.use(ctx, c, request)
		if !dead || ctx.Err() != nil || errors.Is(err, errLong) {
			return err
		}
	}
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	_, err = p.use(ctx, c, request)
	return err
}

// use makes a request and puts the connection back, if it is still one.
func (p *ldapPool) use(ctx context.Context, c *ldapConn, request func(*ldapConn) error) (dead bool, err error) {
	c.raw.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	err = request(c)
	if !stop() {
		c.end()
		return true, fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	var answer *ldap.Error
	switch {
	case c.raw.left.Load() < 0:
		err = fmt.Errorf("%w: %w", directory.ErrFault, errLong)
	case err == nil, errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork && answer.ResultCode != ldap.LDAPResultUnavailable && !c.IsClosing():
		p.put(c)
		return false, err
	}
	c.end()
	return true, err
}

// take returns an idle connection; nil if there is none.
func (p *ldapPool) take() *ldapConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.last.Stop() && !c.IsClosing() {
			return c
		}
		c.end()
	}
	return nil
}

func (p *ldapPool) put(c *ldapConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	c.last = time.AfterFunc(idleTime, func() {
		p.mu.Lock()
		p.idle = slices.DeleteFunc(p.idle, func(o *ldapConn) bool { return o == c })
		p.mu.Unlock()
		c.end()
	})
}

// connect tries the servers in turn.
func (p *ldapPool) connect(ctx context.Context) (*ldapConn, error) {
	p.mu.Lock()
	resting := time.Now().Before(p.rest)
	p.mu.Unlock()
	if resting {
		return nil, errResting
	}
	var all []error
	for _, s := range p.servers {
		c, err := p.connectTo(ctx, s)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("no connection in time: %w", ctx.Err())
		}
		if all = append(all, fmt.Errorf("%s: %w", s.address, err)); ctx.Err() != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = time.Now().Add(restTime)
	return nil, errors.Join(all...)
}

func (p *ldapPool) connectTo(ctx context.Context, s server) (*ldapConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, s.network, s.address)
	if err != nil {
		return nil, err
	}
	raw := &boundedConn{Conn: conn}
	raw.left.Store(maxAnswer)
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	var wire net.Conn = raw
	if s.tls {
		secure := tls.Client(raw, p.clientTLS(s.name))
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		wire = secure
	}
	c := &ldapConn{Conn: ldap.NewConn(wire, s.tls), raw: raw}
	c.Start()
	if p.startTLS && !s.tls && s.name != "" {
		if err = c.StartTLS(p.clientTLS(s.name)); err != nil {
			err = fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if err == nil && p.dn != "" {
		if err = c.Bind(p.dn, p.password); err != nil {
			err = fmt.Errorf("bind as %s: %w", p.dn, err)
		}
	}
	if err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}
