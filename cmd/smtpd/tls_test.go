package main_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// secure is a session under TLS.
type secure struct {
	*tls.Conn
	br *bufio.Reader
}

// startTLS connects and begins TLS as a client that asks for name.
func startTLS(t *testing.T, addr, name string, certs *mtatest.Certs) *secure {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	plain := &secure{br: bufio.NewReader(nc)}
	plain.expect(t, "220 ")
	for _, step := range [][2]string{{"HELO c.test", "250 "}, {"STARTTLS", "220 "}} {
		if _, err := io.WriteString(nc, step[0]+"\r\n"); err != nil {
			t.Fatal(err)
		}
		plain.expect(t, step[1])
	}
	c := tls.Client(nc, certs.Client(name))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &secure{c, bufio.NewReader(c)}
}

func (s *secure) expect(t *testing.T, prefix string) {
	t.Helper()
	if got, err := s.br.ReadString('\n'); err != nil || !strings.HasPrefix(got, prefix) {
		t.Fatalf("got %q, %v; want %q", got, err, prefix)
	}
}

func TestAReloadBringsCertificatesAndLeavesSessionsOpen(t *testing.T) {
	p := startDaemon(t)
	addr := p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
	other := mtatest.NewCerts(t, "mail.other.test")
	text, err := os.ReadFile(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(other.CertFile)
	mtatest.Write(t, p.conf, string(text)+"[[tls.sni]]\nnames = [\"mail.other.test\"]\ncertificate = \""+dir+"/fullchain.pem\"\nkey = \""+dir+"/key.pem\"\n")
	open := startTLS(t, addr, "mx.here.test", p.certs)
	p.Signal(t, syscall.SIGHUP)
	p.Next(t, "event=reloaded")
	second := startTLS(t, addr, "mail.other.test", other) // fails where the certificate is the wrong one

	for _, s := range []*secure{open, second} {
		for _, step := range [][2]string{{"HELO c.test", "250 "}, {"MAIL FROM:<a@away.test>", "250 "}, {"RCPT TO:<alice@here.test>", "250 "}, {"DATA", "354 "}, {"x\r\n.", "250 "}, {"QUIT", "221 "}} {
			if _, err := io.WriteString(s, step[0]+"\r\n"); err != nil {
				t.Fatal(err)
			}
			s.expect(t, step[1])
		}
	}
	p.Signal(t, syscall.SIGTERM)
	p.Next(t, "event=stopped")
}
