package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// daemonAt answers for a daemon on a Unix socket.
func daemonAt(t *testing.T, socket, health, metrics string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if health != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, health)
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metrics) })
	s := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

func statusOf(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := execute(context.Background(), append([]string{"status"}, args...), strings.NewReader(""), &out, &errOut)
	return code, out.String() + errOut.String()
}

// noJournal puts a journalctl in front that knows of one error, with a terminal's commands in it.
func noJournal(t *testing.T, dir string) {
	t.Helper()
	entry := fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d","PRIORITY":"3","POSTHOUSE_EVENT":"stalled","OPERATION":"flush","ERROR":[27,91,50,74]}`, time.Now().UnixMicro())
	script := "#!/bin/sh\necho '" + entry + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestStatusShowsWhatIsThereAndNoMore(t *testing.T) {
	dir := t.TempDir()
	noJournal(t, dir)
	certs := mtatest.NewCerts(t, "mail.example.org")
	for _, d := range []string{"run/queue", "run/smtpd", "spool"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "posthouse.toml")
	writeFile(t, conf, strings.NewReplacer("DIR", dir, "CERT", certs.CertFile, "KEY", certs.KeyFile).Replace(`hostname = "mail.example.org"
run = "DIR/run"
spool.path = "DIR/spool"
[tls]
certificate = "CERT"
key = "KEY"
[metrics]
smtpd = "unix:DIR/s"
queue_runner = "unix:DIR/q"
`))
	code, out := statusOf(t, "-c", conf)
	for _, want := range []string{"smtpd         not running", "queue-runner  not running", "pop3d         unknown", "queue  unknown", "rates  unknown",
		"filters      unknown", "days left", "stalled  err=?[2J op=flush"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing runs: no %q in\n%s", want, out)
		}
	}
	if code != exitFound || strings.Contains(out, "\x1b") {
		t.Errorf("nothing runs: got %d\n%q", code, out)
	}

	start := time.Now().Add(-10 * time.Minute).Unix()
	daemonAt(t, filepath.Join(dir, "s"), "ok", fmt.Sprintf("# HELP x y\nprocess_start_time_seconds %d\nposthouse_smtpd_messages_total{role=\"mx\"} 40\nposthouse_smtpd_messages_total{role=\"local\"} 10\n", start))
	daemonAt(t, filepath.Join(dir, "q"), "queue: the spool refuses: flush", `posthouse_queue_messages{age="0-5m",status="deferred"} 2`+"\n"+`posthouse_queue_messages{age="1d-",status="held"} 1`+"\n")
	b, err := json.Marshal(mta.QueueStatus{At: time.Now(), Messages: 3, Oldest: time.Now().Add(-2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "run/queue/status"), string(b))
	code, out = statusOf(t, "-c", conf)
	for _, want := range []string{"running", "unwell", "queue: the spool refuses: flush", "3 messages", "oldest 2h", "2 deferred, 1 held", "messages in", "50", "a minute", "since its start"} {
		if !strings.Contains(out, want) {
			t.Errorf("two run: no %q in\n%s", want, out)
		}
	}
	if code != exitFound {
		t.Errorf("one is unwell: got %d, want %d", code, exitFound)
	}
	var o overview
	_, out = statusOf(t, "-c", conf, "--json")
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &o); err != nil || o.Daemons[0].State != stateRunning || o.Daemons[1].State != stateUnwell || o.Queue.Status["held"] != 1 || len(o.Rates) == 0 {
		t.Errorf("json: got %v\n%s", err, out)
	}
}

func TestRatesAreThoseBetweenTwoLooks(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	at := func(n float64, d time.Duration) *overview {
		return &overview{At: start.Add(d), Daemons: []daemonView{{Name: "smtpd", Start: start, metrics: samples{`posthouse_smtpd_messages_total{role="mx"}`: n}}}}
	}
	first, second := at(60, time.Hour), at(90, time.Hour+30*time.Second)
	first.since(nil)
	second.since(first)
	if a, b := first.Rates[0].PerMinute, second.Rates[0].PerMinute; a != 1 || b != 60 {
		t.Errorf("got %v and %v a minute, want 1 and 60", a, b)
	}
}

func TestWhereWhoListensOnAllAddressesIsReached(t *testing.T) {
	for listen, want := range map[string]string{":995": "127.0.0.1:995", "0.0.0.0:995": "127.0.0.1:995", "[::]:995": "[::1]:995", "192.0.2.1:995": "192.0.2.1:995"} {
		if got := reachable("tcp", listen); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
	if got := reachable("unix", "/run/x:1"); got != "/run/x:1" {
		t.Errorf("a socket: got %s", got)
	}
}
