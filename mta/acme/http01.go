package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// httpAnswers serves what HTTP-01 asks for, and nothing else.
type httpAnswers struct {
	server *http.Server
	done   chan struct{}

	mu    sync.Mutex // guards pages
	pages map[string]string
}

// listenHTTP opens acme.listen. Whoever has the port already would get the authority's question.
func listenHTTP(ctx context.Context, address string) (*httpAnswers, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("acme.listen %s: another program has this address; let it pass /.well-known/acme-challenge/ on to another port and "+
			"name that one in acme.listen, or set acme.dns_hook", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("acme.listen %s: %w; run this as root: it goes on as the user posthouse-acme by itself", address, err)
	case err != nil:
		return nil, fmt.Errorf("acme.listen %s: %w", address, err)
	}
	a := &httpAnswers{done: make(chan struct{}), pages: map[string]string{}}
	a.server = &http.Server{Handler: a, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}
	a.server.SetKeepAlivesEnabled(false)
	go func() {
		defer close(a.done)
		_ = a.server.Serve(ln) // it ends by close
	}()
	return a, nil
}

func (a *httpAnswers) close() {
	_ = a.server.Close()
	<-a.done
}

// ServeHTTP is http.Handler's.
func (a *httpAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	text, ok := a.pages[r.URL.Path]
	a.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream") // RFC 8555 8.3
	_, _ = w.Write([]byte(text))
}

// Present is acmez.Solver's.
func (a *httpAnswers) Present(_ context.Context, c rfc8555.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[c.HTTP01ResourcePath()] = c.KeyAuthorization
	return nil
}

// CleanUp is acmez.Solver's.
func (a *httpAnswers) CleanUp(_ context.Context, c rfc8555.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pages, c.HTTP01ResourcePath())
	return nil
}
