package greylist

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// askTime bounds a question to the store.
const askTime = 3 * time.Second

// passed is the value of a triplet that has passed; before it is the second in which it was first seen.
const passed = "ok"

// shared is a store for several hosts: Redis, or what speaks like it. It forgets by itself what has run out.
type shared struct {
	db  *redis.Client
	set *settings
}

func checkURL(url string) error {
	if url == "" {
		return nil
	}
	if _, err := redis.ParseURL(url); err != nil {
		return errors.New("shared.redis_url_file: the file holds no URL as in redis://:PASSWORD@HOST:6379/0") // the error would show the password
	}
	return nil
}

func openShared(url string, set *settings) (*shared, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, checkURL(url)
	}
	o.ClientName = "posthouse-greylist"
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout, o.MaxRetries = askTime, askTime, askTime, askTime, 1
	return &shared{redis.NewClient(o), set}, nil
}

// Close ends the connections.
func (s *shared) Close() error { return s.db.Close() }

func (s *shared) seen(ctx context.Context, key [32]byte, now time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	name := "posthouse:greylist:" + hex.EncodeToString(key[:])
	first, err := s.db.SetNX(ctx, name, now.Unix(), s.set.window).Result()
	if err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	if first {
		return s.set.delay, nil
	}
	value, err := s.db.Get(ctx, name).Result()
	switch {
	case errors.Is(err, redis.Nil): // it has run out just now
		return s.set.delay, nil
	case err != nil:
		return 0, fmt.Errorf("redis: %w", err)
	}
	if value != passed {
		since, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("redis: %s holds what is none of ours", name)
		}
		if left := since + seconds(s.set.delay) - now.Unix(); left > 0 {
			return time.Duration(left) * time.Second, nil
		}
	}
	if err := s.db.Set(ctx, name, passed, s.set.keep).Err(); err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	return 0, nil
}
