package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxURL bounds the file of the shared store's URL, octets.
const maxURL = 4096

// URL reads the file that RedisURLFile names; it is "" where none is named. No error shows what is in the file, which may be a
// password.
func (s Shared) URL() (string, error) {
	if s.RedisURLFile == "" {
		return "", nil
	}
	f, err := os.Open(s.RedisURLFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxURL+1))
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(b))
	if len(b) > maxURL || strings.ContainsAny(url, " \t\r\n\x00") || !strings.Contains(url, "://") {
		return "", fmt.Errorf("%s holds no URL: one line as in redis://HOST:6379/0", s.RedisURLFile)
	}
	return url, nil
}
