package daemon

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// The bounds of the listener for metrics: a few collectors ask, seldom, and one that hangs holds up no other.
const (
	metricsConns   = 16
	metricsTimeout = 10 * time.Second
	metricsHeader  = 8 << 10
)

// ServeMetrics opens the daemon's listener of [metrics] where the configuration has one: /metrics gives what the
// collectors count, and the process itself, in the Prometheus format; /healthz is 200 while the daemon does its work and
// all of OnHealth are content, and 503 with the reason otherwise, before that, and once it is to stop. It is served until the work is over, a drain included. It is for the run
// function, once, before Ready.
func (a *App) ServeMetrics(all ...prometheus.Collector) error {
	key, address := a.metricsAddress(a.Config())
	a.OnReload(func(c *config.Config) error {
		if _, next := a.metricsAddress(c); next != address {
			return config.Errors{{File: a.Path, Line: 1, Key: key, Msg: "sockets change at a restart only"}}
		}
		return nil
	})
	if address == "" {
		return nil
	}
	registry := prometheus.NewRegistry()
	about := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "posthouse_build_info", Help: "Always 1; the labels name the program and its version.",
		ConstLabels: prometheus.Labels{"program": a.Name, "version": Version()},
	}, func() float64 { return 1 })
	process := []prometheus.Collector{about, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	for _, c := range append(process, all...) {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	ln, err := a.Listen(address, 0o660)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: a.metricsHandler(registry), ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: metricsHeader,
		ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(netutil.LimitListener(ln, metricsConns)) // it ends by Close alone
	}()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closeMetrics = func() {
		_ = server.Close()
		<-done
	}
	return nil
}

// metricsAddress is the key of [metrics] that is this program's, and what it says.
func (a *App) metricsAddress(c *config.Config) (key, address string) {
	switch a.Name {
	case "posthouse-smtpd":
		return "metrics.smtpd", c.Metrics.SMTPD
	case "posthouse-queue-runner":
		return "metrics.queue_runner", c.Metrics.QueueRunner
	case "posthouse-pop3d":
		return "metrics.pop3d", c.Metrics.POP3D
	}
	return "", ""
}

func (a *App) metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: metricsConns}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		h := string(a.health.load())
		if h == string(healthy) {
			if err := a.wellness(r.Context()); err != nil {
				h = err.Error()
			}
		}
		if h != string(healthy) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, h+"\n")
	})
	return mux
}

// health is what /healthz tells.
type health string

const (
	starting health = "starting"
	healthy  health = "ok"
	stopping health = "stopping"
)

// healthCell holds a health for many goroutines; its zero value is starting.
type healthCell struct{ v atomic.Value }

func (c *healthCell) load() health {
	h, ok := c.v.Load().(health)
	if !ok {
		return starting
	}
	return h
}

// ready moves on from starting alone: a daemon that is told to stop before it is ready stays stopping.
func (c *healthCell) ready() { c.v.CompareAndSwap(nil, healthy) }

func (c *healthCell) stop() { c.v.Store(stopping) }

// endMetrics closes the listener for metrics, where there is one.
func (a *App) endMetrics() {
	a.mu.Lock()
	end := a.closeMetrics
	a.closeMetrics = nil
	a.mu.Unlock()
	if end != nil {
		end()
	}
}
