package main_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// page gets a page of the metrics over a Unix socket.
func page(t *testing.T, socket, path string) (int, string) {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	res, err := c.Get("http://here" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestMetricsAndHealthTellOfTheRealWork(t *testing.T) {
	p := startDaemon(t, "[metrics]\nsmtpd = \"unix:DIR/m\"\n")
	addr := p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	socket := filepath.Join(p.dir, "m")
	if status, text := page(t, socket, "/healthz"); status != 200 || text != "ok\n" {
		t.Errorf("got %d %q, want 200 ok", status, text)
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `S: 220 .*
C: HELO client.test
S: 250 .*
C: MAIL FROM:<a@away.test>
S: 250 .*
C: RCPT TO:<nobody@here.test>
S: 550 5.1.1 .*
C: RCPT TO:<alice@here.test>
S: 250 .*
C: DATA
S: 354 .*
C: hello
C: .
S: 250 .*
C: FROBNICATE
S: 500 .*
C: QUIT
S: 221 .*
EOF
`, nil)
	p.Next(t, "event=accepted")
	_, text := page(t, socket, "/metrics")
	for _, want := range []string{
		"posthouse_smtpd_connections_total 1",
		`posthouse_smtpd_commands_total{command="rcpt"} 2`,
		`posthouse_smtpd_commands_total{command="other"} 1`,
		`posthouse_smtpd_commands_refused_total{command="rcpt",reason="unknown-recipient"} 1`,
		`posthouse_smtpd_commands_refused_total{command="other",reason="syntax"} 1`,
		`posthouse_smtpd_messages_total{role="mx"} 1`,
		`posthouse_smtpd_received_octets_total{role="mx"} 7`,
		"posthouse_smtpd_acceptance_seconds_count 1",
		"posthouse_smtpd_certificate_expires_timestamp_seconds ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	spool := filepath.Join(p.dir, "spool", "tmp")
	if err := os.Rename(spool, spool+".away"); err != nil {
		t.Fatal(err)
	}
	if status, text := page(t, socket, "/healthz"); status != 503 || !strings.HasPrefix(text, "spool: ") {
		t.Errorf("without the spool's folder: got %d %q, want 503 and the reason", status, text)
	}
	if err := os.Rename(spool+".away", spool); err != nil {
		t.Fatal(err)
	}
	p.Terminate(t)
}
