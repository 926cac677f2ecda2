package config

import (
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// maxURL bounds the file of the shared store's URL, octets.
const maxURL = 4096

// URL reads the file that RedisURLFile names; it is "" where none is named. No error shows what is in the file, which may be a
// password.
func (s Shared) URL() (string, error) {
	if s.RedisURLFile == "" {
		return "", nil
	}
	b, _, err := conffile.Read(s.RedisURLFile, maxURL)
	if err != nil {
		return "", err
	}
	url := strings.TrimSpace(string(b))
	if strings.ContainsAny(url, " \t\r\n\x00") || !strings.Contains(url, "://") {
		return "", fmt.Errorf("%s holds no URL: one line as in redis://HOST:6379/0", s.RedisURLFile)
	}
	return url, nil
}
