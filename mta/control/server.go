package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// The socket, below run/queue. Everybody may connect: the kernel says who it is.
const (
	SocketName = "control.sock"
	SocketMode = 0o666
)

// Bounds of what askers may cost.
const (
	maxConns   = 64
	maxOthers  = 48 // ... of those who may list only
	maxLists   = 4  // at once; more wait
	otherLists = 3
	headerTime = 10 * time.Second
	idleTime   = time.Minute
	writeTime  = 30 * time.Second // for each piece of an answer
	askTime    = time.Minute      // for all that is no stream
	maxHeader  = 16 << 10
)

// Server answers on the socket. Its fields do not change.
type Server struct {
	spool    Spool
	schedule Schedule
	lists    chan struct{}
	others   chan struct{}      // lists of those who may list only
	may      func(uid int) bool // do all
}

// NewServer returns a Server for a spool and the schedule over it.
func NewServer(s Spool, sc Schedule) *Server {
	return &Server{spool: s, schedule: sc, lists: make(chan struct{}, maxLists), others: make(chan struct{}, otherLists), may: mayAll}
}

// Serve answers on ln until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	h := &http.Server{
		Handler: s.handler(), ConnContext: connContext, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what an asker does wrong is told to the asker
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	err := h.Serve(&bounded{
		Listener: ln, free: make(chan struct{}, maxConns), others: make(chan struct{}, maxOthers), may: s.may, done: ctx.Done(),
	})
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /queue", s.getQueue)
	mux.HandleFunc("GET /queue/{id}", s.owner(s.getMessage))
	mux.HandleFunc("GET /queue/{id}/content", s.owner(s.getContent))
	mux.HandleFunc("GET /destinations", s.getDestinations)
	mux.HandleFunc("POST /change", s.owner(s.postChange))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(askTime + writeTime))
		mux.ServeHTTP(w, r)
	})
}

// owner lets those alone in who may do all.
func (s *Server) owner(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if uid := peer(r); !s.may(uid) {
			fail(w, http.StatusForbidden, fmt.Errorf("uid %d may list the queue only; be root or the user that queue-runner runs as", uid))
			return
		}
		h(w, r)
	}
}

type problem struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, status int, err error) { answer(w, status, problem{err.Error()}) }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who has gone cannot be told
}

var errNoMessage = errors.New("no such message in the queue")

// failAs gives an error the status that fits.
func failAs(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, spool.ErrGone):
		status, err = http.StatusNotFound, errNoMessage
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		status = http.StatusServiceUnavailable
	}
	fail(w, status, err)
}

func (s *Server) getQueue(w http.ResponseWriter, r *http.Request) {
	f, err := ParseFilter(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	leave, ok := s.enter(r)
	if !ok {
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &patient{w: w, c: http.NewResponseController(w)}
	e := json.NewEncoder(out)
	err = s.list(r.Context(), f, func(m *Message) error { return e.Encode(m) })
	if err != nil {
		_ = e.Encode(problem{err.Error()})
	}
}

// enter waits until another list may be written; false: the asker has gone.
func (s *Server) enter(r *http.Request) (leave func(), ok bool) {
	lines := []chan struct{}{s.lists}
	if !s.may(peer(r)) {
		lines = []chan struct{}{s.others, s.lists}
	}
	var in []chan struct{}
	leave = func() {
		for _, l := range in {
			<-l
		}
	}
	for _, l := range lines {
		select {
		case l <- struct{}{}:
			in = append(in, l)
		case <-r.Context().Done():
			leave()
			return nil, false
		}
	}
	return leave, true
}

func (s *Server) getMessage(w http.ResponseWriter, r *http.Request) {
	id, err := mta.ParseID(r.PathValue("id"))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	d, err := s.show(ctx, id)
	if err != nil {
		failAs(w, err)
		return
	}
	answer(w, http.StatusOK, d)
}

func (s *Server) getContent(w http.ResponseWriter, r *http.Request) {
	id, err := mta.ParseID(r.PathValue("id"))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	content, done, err := s.content(id)
	if err != nil {
		failAs(w, err)
		return
	}
	defer done()
	w.Header().Set("Content-Type", "message/rfc822")
	if _, err := io.Copy(&patient{w: w, c: http.NewResponseController(w)}, struct{ io.Reader }{content}); err != nil {
		panic(http.ErrAbortHandler) // so that half a message does not pass for a whole one
	}
}

// patient gives an asker time for each piece of an answer, and not for ever.
type patient struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
