package mtatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server of the test's own, on a Unix socket, that keeps nothing over a crash of the machine.
type Postgres struct {
	bin, dir string
	cred     *syscall.Credential
	cmd      *exec.Cmd
	database string
}

// StartPostgres runs Debian's. Where it is not installed the test is skipped, and fails when CI=true.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		Lacking(t, "no PostgreSQL; apt-get install postgresql")
	}
	dir, err := os.MkdirTemp("", "pg") // a test's own name may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Postgres{bin: filepath.Dir(found[len(found)-1]), dir: dir, database: "postgres"}
	if os.Getuid() == 0 { // which it refuses to run as
		p.becomePostgres(t)
	}
	if out, err := p.command("initdb", "-D", filepath.Join(dir, "data"), "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.Start(t)
	t.Cleanup(p.Stop)
	return p
}

func (p *Postgres) becomePostgres(t testing.TB) {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr, os.Chown(p.dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: p.cred}
	return cmd
}

// Start runs the server again after Stop, and waits until it answers.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	p.cmd = p.command("postgres", "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var c *pgx.Conn
		if c, err = pgx.Connect(context.Background(), p.URL()); err == nil {
			_ = c.Close(context.Background())
			return
		}
	}
	t.Fatal(err)
}

// Stop ends it at once, as a crash does.
func (p *Postgres) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// URL is that of the database.
func (p *Postgres) URL() string { return "postgres://postgres@/" + p.database + "?host=" + p.dir }

// Use makes another database, and has URL and Exec mean that.
func (p *Postgres) Use(t testing.TB, name string) {
	t.Helper()
	p.Exec(t, fmt.Sprintf("CREATE DATABASE %q", name))
	p.database = name
}

// Exec runs statements, with ";" between them.
func (p *Postgres) Exec(t testing.TB, sql string) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

// Lock has questions about a table wait until unlock is called.
func (p *Postgres) Lock(t testing.TB, table string) (unlock func()) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	unlock = func() { _ = c.Close(context.Background()) }
	t.Cleanup(unlock)
	if _, err := c.Exec(context.Background(), fmt.Sprintf("BEGIN; LOCK TABLE %q", table)); err != nil {
		t.Fatal(err)
	}
	return unlock
}
