package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/acme"
	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// lookTime bounds each question to a daemon.
const lookTime = 3 * time.Second

// look asks everybody who can be asked.
func look(ctx context.Context, cfg *config.Config) *overview {
	o := &overview{At: time.Now(), Certificates: []certView{}, Filters: []filterState{}, Errors: []errorView{}}
	smtp := ask(ctx, "smtpd", cfg.Metrics.SMTPD, filepath.Join(cfg.Run, "smtpd", "control.sock"))
	queue := ask(ctx, "queue-runner", cfg.Metrics.QueueRunner, filepath.Join(cfg.Run, "queue", control.SocketName))
	pop := ask(ctx, "pop3d", cfg.Metrics.POP3D, "")
	if pop.State == stateUnknown && cfg.Metrics.POP3D == "" && len(cfg.POP3D.Listen) > 0 {
		pop.knock(ctx, cfg.POP3D.Listen[0].Address)
	}
	o.Daemons = []daemonView{smtp, queue, pop}
	o.queue(ctx, cfg, queue.metrics)
	o.disk(cfg.Spool.Path)
	o.certificates(ctx, cfg)
	if b, err := askSMTPD(filepath.Join(cfg.Run, "smtpd", "control.sock")); err == nil {
		var said struct {
			Filters []filterState `json:"filters"`
		}
		if o.FiltersKnown = json.Unmarshal(b, &said) == nil; o.FiltersKnown && said.Filters != nil {
			o.Filters = said.Filters
		}
	}
	o.lastErrors(ctx)
	return o
}

// ask looks at a daemon by its metrics, and where it has none by its socket.
func ask(ctx context.Context, name, address, socket string) daemonView {
	d := daemonView{Name: name, State: stateUnknown}
	if address != "" {
		status, body, err := get(ctx, address, "/healthz")
		switch {
		case err != nil && isAbsent(err):
			d.State, d.Why = stateDown, "nobody answers on "+address
			if d.answers(ctx, socket) {
				d.State, d.Why = stateRunning, d.Why+", its address in [metrics]: a new one takes a restart"
			}
		case err != nil:
			d.Why = err.Error()
		case status == http.StatusOK:
			d.State = stateRunning
		default:
			d.State, d.Why = stateUnwell, strings.TrimSpace(body)
		}
		if err == nil {
			if _, body, err = get(ctx, address, "/metrics"); err == nil {
				d.metrics = parseSamples(body)
				if at := d.metrics.sum("process_start_time_seconds", ""); at > 0 {
					d.Start = time.UnixMilli(int64(at * 1000))
				}
			}
		}
		return d
	}
	if socket != "" {
		d.dial(ctx, "unix", socket)
	} else {
		d.Why = "it has no address in [metrics]"
	}
	return d
}

// answers says whether a daemon takes connections on its socket, where it has one that nothing else holds open.
func (d *daemonView) answers(ctx context.Context, socket string) bool {
	if socket == "" {
		return false
	}
	by := daemonView{}
	by.dial(ctx, "unix", socket)
	return by.State == stateRunning
}

func (d *daemonView) dial(ctx context.Context, network, where string) {
	dialer := net.Dialer{Timeout: lookTime}
	nc, err := dialer.DialContext(ctx, network, where)
	switch {
	case err == nil:
		_ = nc.Close()
		d.State, d.Why = stateRunning, "by its socket; [metrics] would tell more"
	case isAbsent(err):
		d.State, d.Why = stateDown, "nobody answers on "+where
	default:
		d.Why = err.Error()
	}
}

// knock looks whether somebody listens on an address of the configuration.
func (d *daemonView) knock(ctx context.Context, address string) {
	network, where, err := config.SplitListen(address)
	if err != nil {
		d.Why = err.Error()
		return
	}
	d.dial(ctx, network, reachable(network, where))
}

// reachable is an address to connect to, where one listens on all.
func reachable(network, where string) string {
	host, port, err := net.SplitHostPort(where)
	if network == "unix" || err != nil {
		return where
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1" // by no name: a small system knows none
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

func isAbsent(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// maxPage bounds what is read of a page.
const maxPage = 4 << 20

// get asks a daemon's listener for metrics.
func get(ctx context.Context, address, page string) (status int, body string, err error) {
	network, where, err := config.SplitListen(address)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lookTime)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, Proxy: nil, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: lookTime}).DialContext(ctx, network, reachable(network, where))
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon"+page, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	return res.StatusCode, string(b), err
}

// samples are metrics: the name with its labels, and the value.
type samples map[string]float64

// parseSamples reads the Prometheus text format as our daemons write it.
func parseSamples(page string) samples {
	all := samples{}
	for sc := bufio.NewScanner(strings.NewReader(page)); sc.Scan(); {
		line := sc.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			all[line[:i]] = v
		}
	}
	return all
}

// sum adds up the series of a metric, those with a label as it is written; "" is all.
func (s samples) sum(name, label string) (total float64) {
	for series, v := range s {
		n, labels, _ := strings.Cut(series, "{")
		if n == name && strings.Contains(labels, label) {
			total += v
		}
	}
	return total
}

func (o *overview) queue(ctx context.Context, cfg *config.Config, m samples) {
	q := &o.Queue
	var st mta.QueueStatus
	if b, err := os.ReadFile(filepath.Join(cfg.Run, "queue", "status")); err == nil && json.Unmarshal(b, &st) == nil && o.At.Sub(st.At) < mta.QueueStatusAge {
		q.Known, q.Told, q.Messages, q.Oldest = true, st.At, st.Messages, st.Oldest
	}
	if m != nil {
		q.Status = map[string]int{}
		for _, status := range append(control.Statuses(), "waiting") {
			if n := int(m.sum("posthouse_queue_messages", `status="`+status+`"`)); n > 0 {
				q.Status[status] = n
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c := control.NewClient(filepath.Join(cfg.Run, "queue", control.SocketName))
	defer c.Close()
	if list, err := c.Destinations(ctx); err == nil {
		for _, d := range list {
			if d.State == control.DestDead || d.State == control.DestStalled {
				q.Dead = append(q.Dead, fmt.Sprintf("%s (%d wait): %s", d.Name, d.Waiting+d.Queued, d.Reason))
			}
		}
	}
}

func (o *overview) disk(path string) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil {
		o.Disk = &diskView{path, int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize}
	}
}

func (o *overview) certificates(ctx context.Context, cfg *config.Config) {
	if cfg.TLS.Certificate == "" {
		return
	}
	paths := []string{cfg.TLS.Certificate}
	for _, s := range cfg.TLS.SNI {
		paths = append(paths, s.Certificate)
	}
	for _, path := range paths {
		v := certView{Path: path}
		if at, err := expires(path); err != nil {
			v.Why = err.Error()
		} else {
			v.Expires, v.Days = at, int(at.Sub(o.At).Hours()/24)
		}
		o.Certificates = append(o.Certificates, v)
	}
	if cc := (&certs{cfg: cfg, targets: acme.Targets(cfg)}); len(cc.targets) > 0 {
		o.Renewal = &renewalView{Timer: timerState(ctx, cfg)}
		o.Renewal.Lines, _ = cc.lines(o.At)
	}
}

// expires is when the first certificate of a file ends.
func expires(path string) (time.Time, error) {
	b, _, err := conffile.Read(path, tlsconf.MaxPEM)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return time.Time{}, fmt.Errorf("%s: no PEM", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.NotAfter, nil
}
