// Package redis asks a Redis server, or what speaks like it, by the URL that a file of the configuration holds.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Bounds of the connections that a Pool keeps.
const (
	maxConns   = 64
	maxIdle    = 16
	idleTime   = 5 * time.Minute
	trustFor   = time.Second // a connection that rested longer may have been closed by the server: it is tried with a PING
	keepAlive  = time.Minute
	plainPort  = "6379"
	clientName = "posthouse"
)

// ErrURL is the error of Open. It does not show the URL, which may hold a password.
var ErrURL = errors.New("no URL as in redis://:PASSWORD@HOST:6379/0, rediss://HOST, or unix://:PASSWORD@/run/redis/redis.sock?db=0")

// Pool holds connections to one server. It is safe for use by many goroutines.
type Pool struct {
	pool    redis.Pool
	address string
	timeout time.Duration
}

// Open takes redis://[USER][:PASSWORD@]HOST[:PORT][/DB], the same with rediss:// for TLS, or
// unix://[USER][:PASSWORD@]/PATH[?db=DB]. It connects to nothing yet. A question, with the connection that it needs, has the timeout.
func Open(rawURL string, timeout time.Duration) (*Pool, error) {
	network, address, secure, options, err := parse(rawURL)
	if err != nil {
		return nil, ErrURL
	}
	options = append(options, redis.DialClientName(clientName), redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout),
		redis.DialContextFunc(dialer(timeout, secure)))
	return &Pool{address: address, timeout: timeout, pool: redis.Pool{
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, network, address, options...)
		},
		TestOnBorrowContext: func(ctx context.Context, c redis.Conn, since time.Time) error {
			if time.Since(since) < trustFor {
				return nil
			}
			_, err := redis.DoContext(c, ctx, "PING")
			return err
		},
		MaxActive: maxConns, MaxIdle: maxIdle, IdleTimeout: idleTime, Wait: true,
	}}, nil
}

// dialer makes connections whose answers are bounded; secure is nil where there is no TLS.
func dialer(timeout time.Duration, secure *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{KeepAlive: keepAlive}
	dial := plain.DialContext
	if secure != nil {
		dial = (&tls.Dialer{NetDialer: plain, Config: secure}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: c}, nil
	}
}

func parse(rawURL string) (network, address string, secure *tls.Config, options []redis.DialOption, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", nil, nil, err
	}
	db := ""
	switch network = "tcp"; u.Scheme {
	case "redis", "rediss":
		port := u.Port()
		if port == "" {
			port = plainPort
		}
		address, db = net.JoinHostPort(u.Hostname(), port), strings.TrimPrefix(u.Path, "/")
		if u.Hostname() == "" || u.RawQuery != "" {
			return "", "", nil, nil, ErrURL
		}
		if u.Scheme == "rediss" {
			secure = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		}
	case "unix":
		network, address, db = "unix", u.Path, u.Query().Get("db")
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return "", "", nil, nil, ErrURL
		}
	default:
		return "", "", nil, nil, ErrURL
	}
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, redis.DialUsername(u.User.Username()), redis.DialPassword(password))
	}
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return "", "", nil, nil, ErrURL
		}
		options = append(options, redis.DialDatabase(n))
	}
	return network, address, secure, options, nil
}

// Address is where the server is: HOST:PORT, or the path of a socket.
func (p *Pool) Address() string { return p.address }

// Close ends the connections that nobody uses; the others end after their answer.
func (p *Pool) Close() error { return p.pool.Close() }

// Do asks one command. The answer is int64, string, []byte, []any of these, or nil where there is none.
func (p *Pool) Do(ctx context.Context, command string, args ...any) (any, error) {
	return p.with(ctx, func(ctx context.Context, c redis.Conn) (any, error) { return redis.DoContext(c, ctx, command, args...) })
}

// Script is a program in Lua that the server runs at once, with nothing between.
type Script struct{ script *redis.Script }

// NewScript has the keys before the arguments in Run, as many as the script is told by its caller.
func NewScript(source string) *Script { return &Script{redis.NewScript(-1, source)} }

// Run has the server run a script, which is sent where it does not know it yet. The answer is a list of numbers.
func (p *Pool) Run(ctx context.Context, s *Script, keys []string, args ...any) ([]int64, error) {
	all := make([]any, 0, 1+len(keys)+len(args))
	all = append(all, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return redis.Int64s(p.with(ctx, func(ctx context.Context, c redis.Conn) (any, error) {
		return s.script.DoContext(ctx, c, append(all, args...)...)
	}))
}

func (p *Pool) with(ctx context.Context, ask func(context.Context, redis.Conn) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	c, err := p.pool.GetContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	defer c.Close()
	answer, err := ask(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return answer, nil
}
