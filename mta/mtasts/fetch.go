package mtasts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

// Bounds of a fetch (RFC 8461 3.3).
const (
	maxPolicy    = 64 << 10
	fetchTimeout = 30 * time.Second
)

// ErrFetch is wrapped where a policy could not be fetched. The error may wrap that of a certificate.
var ErrFetch = errors.New("fetch MTA-STS policy")

func newClient(o Options) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: o.Dial, TLSClientConfig: o.TLS, TLSHandshakeTimeout: fetchTimeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxPolicy,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // RFC 8461 3.3
		Timeout:       fetchTimeout,
	}
}

// fetch returns the text of a domain's policy.
func (c *Cache) fetch(ctx context.Context, domain string) (string, error) {
	url := "https://mta-sts." + domain + "/.well-known/mta-sts.txt"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s answers %.80q", ErrFetch, url, resp.Status)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return "", fmt.Errorf("%w: %s is %.80q, want text/plain", ErrFetch, url, resp.Header.Get("Content-Type"))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if len(b) > maxPolicy {
		return "", fmt.Errorf("%w: %s is larger than 64 KiB", ErrFetch, url)
	}
	return string(b), nil
}
