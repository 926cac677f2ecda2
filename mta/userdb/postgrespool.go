package userdb

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// pgPool is a pool of connections that is there as long as somebody asks, as a pool has a goroutine: after a reload with other
// settings nobody asks the old one any more, or only sessions that began before.
type pgPool struct {
	cfg *pgxpool.Config

	mu    sync.Mutex    // guards the rest
	open  *pgxpool.Pool // nil: none
	users int
	last  *time.Timer // closes it when nobody has used it for cfg.MaxConnIdleTime
}

// take returns the pool, for as long as give has not been called.
func (p *pgPool) take() (*pgxpool.Pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		open, err := pgxpool.NewWithConfig(context.Background(), p.cfg)
		if err != nil {
			return nil, err
		}
		p.open = open
	}
	if p.last != nil {
		p.last.Stop()
	}
	p.users++
	return p.open, nil
}

func (p *pgPool) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users == 0 {
		p.last = time.AfterFunc(p.cfg.MaxConnIdleTime, p.close)
	}
}

// close closes it, unless somebody has come meanwhile.
func (p *pgPool) close() {
	p.mu.Lock()
	open := p.open
	if p.users > 0 || open == nil {
		p.mu.Unlock()
		return
	}
	p.open = nil
	p.mu.Unlock()
	open.Close() // waits for the last goodbye
}
