package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestCheckAsksTheStoreOfSeveralHosts(t *testing.T) {
	url, stop := mtatest.StartRedis(t)
	path := site(t, "postmaster@example.org {PLAIN}x\n", "[shared]\nredis_url_file = \"DIR/url\"\n")
	for _, c := range []struct {
		name, url string
		before    func()
		status    int
		want      string // "" = nothing of it
	}{
		{name: "no file", status: 78, want: "shared.redis_url_file: open "},
		{name: "no URL", url: "secret\n", status: 78, want: "shared.redis_url_file: "},
		{name: "no Redis", url: "http://:hunter2@host\n", status: 78, want: "shared.redis_url_file: "},
		{name: "good", url: url + "\n"},
		{name: "a wrong password", url: strings.Replace(url, "secret", "hunter2", 1), want: "warning: shared.redis_url_file: /"},
		{name: "away", url: url, before: stop, want: "warning: shared.redis_url_file: /"},
	} {
		if c.url != "" {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "url"), []byte(c.url), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if c.before != nil {
			c.before()
		}
		status, out, errOut := command(t, "check", "-c", path)
		all := out + errOut
		if status != c.status || !strings.Contains(all, c.want) || c.want == "" && strings.Contains(all, "shared") || strings.Contains(all, "hunter2") {
			t.Errorf("%s: got status %d and\n%s\nwant %d and %q, and no password", c.name, status, all, c.status, c.want)
		}
	}
}
