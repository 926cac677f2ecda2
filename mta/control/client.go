package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrAbsent says that nobody answers on the socket.
var ErrAbsent = errors.New("queue-runner does not answer: is it running?")

// StatusError is an answer that refuses something.
type StatusError struct {
	Status int // of HTTP
	Text   string
}

func (e *StatusError) Error() string { return e.Text }

// Client asks queue-runner.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

// Close gives its connections up.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List passes the messages that a filter takes to yield, oldest first, until that returns an error.
func (c *Client) List(ctx context.Context, f Filter, yield func(*Message) error) error {
	body, err := c.do(ctx, http.MethodGet, "/queue?"+f.Values().Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		m := new(Message)
		switch err := d.Decode(m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", c.path, err)
		case m.ID == "":
			return errors.New(m.Error)
		}
		if err := yield(m); err != nil {
			return err
		}
	}
}

// Show returns all that is known of a message.
func (c *Client) Show(ctx context.Context, id mta.ID) (*Detail, error) {
	d := new(Detail)
	return d, c.get(ctx, "/queue/"+url.PathEscape(string(id)), d)
}

// Content writes a message as its recipients get it.
func (c *Client) Content(ctx context.Context, id mta.ID, w io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, "/queue/"+url.PathEscape(string(id))+"/content", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// Change does something to messages, MaxIDs at most, and returns a Result for each.
func (c *Client) Change(ctx context.Context, ch Change, ids []mta.ID) (out []Result, err error) {
	b, err := json.Marshal(request{ch, ids})
	if err != nil {
		return nil, err
	}
	body, err := c.do(ctx, http.MethodPost, "/change", b)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	err = json.NewDecoder(body).Decode(&out)
	_, _ = io.Copy(io.Discard, body) // read to its end, the connection serves for the next ones of the same command
	return out, err
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(v)
}

// do makes one request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://queue-runner"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%s: %w", c.path, ErrAbsent)
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var p problem
	if json.NewDecoder(io.LimitReader(resp.Body, maxHeader)).Decode(&p) != nil || p.Error == "" {
		p.Error = resp.Status
	}
	return nil, &StatusError{resp.StatusCode, p.Error}
}
