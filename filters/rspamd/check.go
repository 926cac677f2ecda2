package rspamd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Bounds, octets.
const (
	maxAnswer = 1 << 20
	maxHeader = 64 << 10 // of an answer's HTTP header
	// maxRcpts is for all recipients together: Rspamd takes 80 KiB of HTTP header, and then answers nothing.
	maxRcpts = 40 << 10
)

// check asks by POST /checkv2 (Rspamd's documentation, "Protocol"), on a connection of its own.
func (f *Filter) check(ctx context.Context, e *filters.Event) (*answer, error) {
	r, err := daemon.Open(e.Message)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body := &counted{ReadCloser: r}
	q := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: "http", Host: "rspamd", Path: "/checkv2"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: f.header(e), Body: body, ContentLength: e.Message.Size(), Host: "rspamd",
	}).WithContext(ctx)
	// A transport dials in a context of its own, which would outlive ours: hence one for each question.
	t := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return f.set.Dial(ctx) },
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	p, err := t.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	defer p.Body.Close()
	b, err := io.ReadAll(io.LimitReader(p.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("it says more than %d octets", maxAnswer)
	case p.StatusCode != http.StatusOK:
		return nil, refused(p, b)
	case body.n.Load() < e.Message.Size():
		return nil, errors.New("it has answered before it had the whole message")
	}
	return parse(b)
}

// refused gives what the answer says of itself: {"error": "..."}, or its status line.
func refused(p *http.Response, body []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		said.Error = http.StatusText(p.StatusCode)
	}
	return fmt.Errorf("it says %d %q", p.StatusCode, daemon.OneLine(said.Error))
}

// header tells what is known of the session.
func (f *Filter) header(e *filters.Event) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		if value = clean(value); value != "" {
			h.Set(name, value)
		}
	}
	switch {
	case e.Client.IsValid():
		set("IP", e.Client.Addr().Unmap().WithZone("").String())
	case e.Local:
		set("IP", "127.0.0.1") // as other mail servers say it of what their own machine hands in
	}
	set("Hostname", e.ClientName)
	set("Helo", e.Helo)
	set("User", e.Login)
	set("Queue-Id", e.Message.ID)
	set("TLS-Version", e.TLSVersion)
	set("TLS-Cipher", e.TLSCipher)
	set("MTA-Name", f.hostname)
	set("Password", f.set.Password)
	set("User-Agent", "Posthouse/"+f.Version)
	set("From", "<"+e.Sender+">")
	size := 0
	for _, to := range e.Recipients {
		if size += len(to) + len("Rcpt: <>\r\n"); size > maxRcpts {
			break
		}
		h.Add("Rcpt", clean("<"+to+">"))
	}
	return h
}

// clean makes text fit for a line of HTTP.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text))
}

// counted counts what was read of it.
type counted struct {
	io.ReadCloser
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
