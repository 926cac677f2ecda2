package greylist

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/posthouse-mail/posthouse/mta/redis"
)

// askTime bounds a question to the store.
const askTime = 3 * time.Second

// passed is the value of a triplet that has passed; before it is the second in which it was first seen.
const passed = "ok"

// shared is a store for several hosts: Redis, or what speaks like it. It forgets by itself what has run out.
type shared struct {
	db  *redis.Pool
	set *settings
}

func openShared(url string, each time.Duration, set *settings) (*shared, error) {
	db, err := redis.Open(url, each)
	if err != nil {
		return nil, fmt.Errorf("shared.redis_url_file: %w", err)
	}
	return &shared{db, set}, nil
}

// Close ends the connections.
func (s *shared) Close() error { return s.db.Close() }

func (s *shared) seen(ctx context.Context, key [32]byte, now time.Time) (time.Duration, error) {
	name := "posthouse:greylist:" + hex.EncodeToString(key[:])
	first, err := s.db.Do(ctx, "SET", name, now.Unix(), "NX", "PX", s.set.window.Milliseconds())
	if err != nil {
		return 0, err
	}
	if first != nil {
		return s.set.delay, nil
	}
	value, err := s.db.Do(ctx, "GET", name)
	if err != nil {
		return 0, err
	}
	text, ok := value.([]byte)
	if !ok { // it has run out just now
		return s.set.delay, nil
	}
	if string(text) != passed {
		since, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("redis: %s holds what is none of ours", name)
		}
		if left := since + seconds(s.set.delay) - now.Unix(); left > 0 {
			return time.Duration(left) * time.Second, nil
		}
	}
	_, err = s.db.Do(ctx, "SET", name, passed, "PX", s.set.keep.Milliseconds())
	return 0, err
}
