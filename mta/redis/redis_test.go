package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/redis"
)

func TestURLs(t *testing.T) {
	for _, url := range []string{
		"", "host", "http://user:hunter2@host", "redis://", "redis://:hunter2@", "redis://user:hunter2@host:port/0", "redis://:hunter2@host/zero", "redis://:hunter2@host/-1",
		"redis://:hunter2@host/0?x=1", "unix://:hunter2@host/path", "unix://:hunter2@", "unix:path", "unix://:hunter2@/path?db=x", "redis://:hunter2%@host", "redis://:hunter2@ho st",
	} {
		if _, err := redis.Open(url, time.Second); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error without the password", url, err)
		}
	}
	for url, want := range map[string]string{
		"redis://host": "host:6379", "redis://[2001:db8::1]:6379/3": "[2001:db8::1]:6379", "rediss://user:a%20b@host:1/": "host:1", "unix:///run/s": "/run/s",
		"unix://:p@/run/s?db=2": "/run/s",
	} {
		p, err := redis.Open(url, time.Second)
		if err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if got := p.Address(); got != want {
			t.Errorf("%q: got %s, want %s", url, got, want)
		}
		_ = p.Close()
	}
}

func TestARealServer(t *testing.T) {
	url, stop := mtatest.StartRedis(t)
	open := func(url string) *redis.Pool {
		t.Helper()
		p, err := redis.Open(url, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	zero, one := open(url), open(url+"?db=1")
	if got, err := zero.Do(t.Context(), "SET", "k", "v"); got != "OK" || err != nil {
		t.Errorf("SET: got %v, %v", got, err)
	}
	if got, err := zero.Do(t.Context(), "GET", "k"); err != nil || string(got.([]byte)) != "v" {
		t.Errorf("GET: got %v, %v", got, err)
	}
	if got, err := one.Do(t.Context(), "GET", "k"); got != nil || err != nil {
		t.Errorf("GET in the other database: got %v, %v; want nothing", got, err)
	}
	script := redis.NewScript("return {redis.call('STRLEN', KEYS[1]), tonumber(ARGV[1])}")
	for range 2 { // it is sent, and then known
		if got, err := zero.Run(t.Context(), script, []string{"k"}, 7); err != nil || len(got) != 2 || got[0] != 1 || got[1] != 7 {
			t.Errorf("got %v, %v; want [1 7]", got, err)
		}
	}
	if _, err := zero.Do(t.Context(), "INCR", "k"); err == nil || !strings.Contains(err.Error(), "not an integer") {
		t.Errorf("got %v, want the server's error", err)
	}
	if got, err := zero.Do(t.Context(), "GET", "k"); err != nil || string(got.([]byte)) != "v" {
		t.Errorf("after an error: got %v, %v", got, err)
	}
	stranger := open(strings.Replace(url, "secret", "hunter2", 1))
	if _, err := stranger.Do(t.Context(), "GET", "k"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong password: got %v, want an error without it", err)
	}
	stop()
	if _, err := zero.Do(t.Context(), "GET", "k"); err == nil {
		t.Error("the server has ended: want an error")
	}
}
