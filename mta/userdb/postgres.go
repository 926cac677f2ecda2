package userdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// Bounds on what a database may say.
const (
	maxURL    = 4 << 10   // octets of the file
	maxAnswer = 1 << 20   // octets of a row
	maxRows   = 10_000    // targets of an alias
	maxLines  = 4 << 20   // octets of them
	maxUsers  = 5_000_000 // in a list
)

// Bounds on connections: each query is short, and who waits for a connection has the time of a query.
const (
	maxConns    = 8 // of one program
	connectTime = 3 * time.Second
	// After a connection was refused nobody tries again for so long: thousands of sessions may want to.
	restTime = time.Second
)

// readURL reads a file with one line, a connection URL or a list of key=value, as libpq has them.
func readURL(path string) (string, error) {
	b, _, err := conffile.Read(path, maxURL)
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(b))
	if url == "" || strings.ContainsAny(url, "\r\n") {
		return "", fmt.Errorf("%s: no URL; allowed: one line, as in postgres://posthouse@/mail?host=/run/postgresql", path)
	}
	return url, nil
}

// namesFile finds what names a file in a connection URL, or in a list of key=value.
var namesFile = regexp.MustCompile(`\b(?:sslrootcert|sslcert|sslkey|passfile|servicefile)\s*=\s*('[^']*'|[^\s'&#]+)`)

// noFile says that a URL names a FIFO, a device or a folder as a file: the library would wait for it, or read it without end.
func noFile(rawURL string) error {
	for _, m := range namesFile.FindAllStringSubmatch(rawURL, -1) {
		path := strings.Trim(m[1], "'")
		if p, err := url.QueryUnescape(path); err == nil && strings.Contains(rawURL, "://") {
			path = p
		}
		f, _, err := conffile.Open(path)
		if errors.Is(err, conffile.ErrIrregular) { // all else is the library's to say
			return err
		}
		if err == nil {
			_ = f.Close()
		}
	}
	return nil
}

// postgres is users in PostgreSQL.
type postgres struct {
	pool pgPool
	sql  config.Postgres
	rest atomic.Int64 // until when nobody connects, in Unix nanoseconds
}

// openPostgres connects to nothing yet.
func openPostgres(url string, sql config.Postgres) (*postgres, error) {
	if err := noFile(url); err != nil {
		return nil, fmt.Errorf("%s: %w", sql.URLFile, err)
	}
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("%s: no URL that can be read: %s; allowed: one line, as in postgres://posthouse@/mail?host=/run/postgresql, other characters than letters and digits of a password as in %%2F", sql.URLFile, reason(err))
	}
	p := &postgres{sql: sql, pool: pgPool{cfg: c}}
	if !strings.Contains(url, "pool_max_conns") {
		c.MaxConns = maxConns
	}
	if !strings.Contains(url, "pool_max_conn_idle_time") {
		c.MaxConnIdleTime = idleTime
	}
	if !strings.Contains(url, "pool_ping_timeout") { // of connections that nobody hears at the other end there may be many
		c.PingTimeout = connectTime / 2
	}
	c.ConnConfig.ConnectTimeout = connectTime
	c.ConnConfig.MaxProtocolMessageBodyLen = maxAnswer
	for name, value := range map[string]string{"application_name": "posthouse", "default_transaction_read_only": "on", "statement_timeout": "5000"} {
		if _, given := c.ConnConfig.RuntimeParams[name]; !given {
			c.ConnConfig.RuntimeParams[name] = value
		}
	}
	c.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if time.Now().UnixNano() < p.rest.Load() {
			return errResting
		}
		return nil
	}
	return p, nil
}

// quotation may be of a URL.
var quotation = regexp.MustCompile(`"[^"]*"`)

// reason is what the library says of a URL, less what it quotes of it: it does not find each password.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return quotation.ReplaceAllString(text[i+len("`: "):], `"..."`)
	}
	return "not in the form of libpq"
}

// User implements directory.Store. The names of the columns are looked at whoever is asked for, so that a check sees a fault.
func (p *postgres) User(ctx context.Context, address string) (directory.Row, error) {
	var row directory.Row
	names, err := p.query(ctx, p.sql.User, []any{address}, func(names []string, values [][]byte) error {
		if row != nil {
			return fmt.Errorf("%w: users.postgres.user finds two rows for %s; one is wanted", directory.ErrFault, address)
		}
		row = directory.Row{}
		for i, name := range names {
			if values[i] != nil {
				row[name] = string(values[i])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := directory.CheckColumn(name); err != nil {
			return nil, fmt.Errorf("%w: users.postgres.user: %w", directory.ErrFault, err)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%w: users.postgres.user: two columns %s", directory.ErrFault, name)
		}
	}
	return row, nil
}

// Alias implements directory.Store.
func (p *postgres) Alias(ctx context.Context, address string) ([]string, error) {
	if p.sql.Alias == "" {
		return nil, directory.ErrNotAsked
	}
	var all []string
	octets := 0
	_, err := p.query(ctx, p.sql.Alias, []any{address}, func(_ []string, values [][]byte) error {
		if len(all) == maxRows {
			return fmt.Errorf("%w: users.postgres.alias finds more than %d rows for %s", directory.ErrFault, maxRows, address)
		}
		if octets += len(values[0]); octets > maxLines {
			return fmt.Errorf("%w: users.postgres.alias finds more than %d octets for %s", directory.ErrFault, maxLines, address)
		}
		if values[0] != nil {
			all = append(all, string(values[0]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// List implements directory.Store.
func (p *postgres) List(ctx context.Context, each func(string)) error {
	if p.sql.List == "" {
		return directory.ErrNotListed
	}
	n := 0
	_, err := p.query(ctx, p.sql.List, nil, func(_ []string, values [][]byte) error {
		if n++; n > maxUsers {
			return fmt.Errorf("users.postgres.list finds more than %d rows", maxUsers)
		}
		each(string(values[0]))
		return nil
	})
	return err
}

// query has each row given to a function, values as text and nil for NULL, and returns the names of the columns. A connection that
// has died meanwhile, as all do when the database is restarted, costs a second try and not a delay.
func (p *postgres) query(ctx context.Context, sql string, args []any, each func(names []string, values [][]byte) error) (names []string, err error) {
	given := false
	first := func(names []string, values [][]byte) error { given = true; return each(names, values) }
	names, err = p.once(ctx, sql, args, first)
	if err != nil && !given && ctx.Err() == nil && lost(err) {
		names, err = p.once(ctx, sql, args, each)
	}
	if ofData(err) {
		if len(args) > 0 {
			err = fmt.Errorf("for %s: %w", args[0], err)
		}
		return nil, fmt.Errorf("%w: %w", directory.ErrFault, err)
	}
	var refused *pgconn.ConnectError
	if errors.As(err, &refused) && !errors.Is(err, errResting) {
		p.rest.Store(time.Now().Add(restTime).UnixNano())
	}
	return names, err
}

var errResting = errors.New("it was away a moment ago")

// ofData says whether the database could not do with an address, or with what it has of it, and can with others: it has two
// rows where one may be, its encoding lacks a character, or a row is too long.
func ofData(err error) bool {
	var pg *pgconn.PgError
	var long *pgproto3.ExceededMaxBodyLenErr
	var refused *pgconn.ConnectError
	return errors.As(err, &long) && !errors.As(err, &refused) || errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "21") || strings.HasPrefix(pg.Code, "22"))
}

// lost says whether the connection had died before the query had an answer, or the plan that it knew for it.
func lost(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// An administrator has ended it, or a crash; a table has got another column.
		return pg.Code == "57P01" || pg.Code == "57P02" || pg.Code == "0A000"
	}
	var refused *pgconn.ConnectError
	return pgconn.SafeToRetry(err) && !errors.As(err, &refused)
}

func (p *postgres) once(ctx context.Context, sql string, args []any, each func(names []string, values [][]byte) error) (names []string, err error) {
	pool, err := p.pool.take()
	if err != nil {
		return nil, err
	}
	defer p.pool.give()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := pool.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for {
		more := rows.Next()
		if names == nil {
			for _, f := range rows.FieldDescriptions() {
				names = append(names, f.Name)
			}
		}
		if !more {
			return names, rows.Err()
		}
		if len(names) == 0 {
			return nil, errors.New("a query without columns")
		}
		if err := each(names, rows.RawValues()); err != nil {
			cancel() // with the connection: otherwise all rows that follow are read, and there may be millions
			return nil, err
		}
	}
}
