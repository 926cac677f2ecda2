package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/posthouse-mail/posthouse/mta/redis"
)

// sharedTime bounds how long the store of several hosts is waited for.
const sharedTime = 5 * time.Second

// shared asks the store of several hosts. That it is away is a warning: each host then counts for itself.
func (c *checker) shared() {
	const key = "shared.redis_url_file"
	url, err := c.cfg.Shared.URL()
	switch {
	case errors.Is(err, fs.ErrPermission): // whoever asks may not know
		return
	case err != nil:
		c.problems = append(c.problems, fmt.Sprintf("%s: %v", key, err))
		return
	case url == "":
		return
	}
	db, err := redis.Open(url, sharedTime)
	if err != nil {
		c.problems = append(c.problems, fmt.Sprintf("%s: %s: %v", key, c.cfg.Shared.RedisURLFile, err))
		return
	}
	defer db.Close()
	if _, err := db.Do(context.Background(), "PING"); err != nil {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: %s does not answer, and each host counts rates and failed logins for itself: %v", key, db.Address(), err))
	}
}
