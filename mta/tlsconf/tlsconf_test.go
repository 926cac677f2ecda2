package tlsconf_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// handshake connects a client to a server and returns both ends' errors, with what the client saw.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(2 * time.Minute)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).Handshake()
		if err != nil {
			_ = a.Close() // so that the client does not wait for more
		}
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		state = c.ConnectionState()
	} else {
		_ = b.Close()
	}
	return state, <-done, clientErr
}

func only(c *mtatest.Certs, version string) tlsconf.Options {
	return tlsconf.Options{Certificate: c.CertFile, Key: c.KeyFile, MinVersion: version}
}

func serial(t *testing.T, s *tlsconf.Server) string {
	t.Helper()
	state, _, err := handshake(t, s.Config(), tlsconf.Client(tlsconf.Unverified, "mail.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	return string(state.PeerCertificates[0].Raw)
}

func TestPairsThatCannotBeUsedAreRefused(t *testing.T) {
	good, other := mtatest.NewCerts(t, "mail.example.org"), mtatest.NewCerts(t, "mail.example.org")
	open := mtatest.NewCerts(t, "mail.example.org")
	if err := os.Chmod(open.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, cert, key, version, want string }{
		{"key that others can read", open.CertFile, open.KeyFile, "1.2", "allowed: 0640 or less"},
		{"key of another certificate", good.CertFile, other.KeyFile, "1.2", "private key does not match"},
		{"key in place of the certificate", good.KeyFile, good.KeyFile, "1.2", "certificate " + good.KeyFile},
		{"no certificate", good.CertFile + ".gone", good.KeyFile, "1.2", "no such file"},
		{"folder", t.TempDir(), good.KeyFile, "1.2", "not a regular file"},
		{"old version", good.CertFile, good.KeyFile, "1.1", "allowed: 1.2, 1.3"},
		{"no version", good.CertFile, good.KeyFile, "", "allowed: 1.2, 1.3"},
	} {
		_, err := tlsconf.Open(tlsconf.Options{Certificate: c.cert, Key: c.key, MinVersion: c.version}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestServerAndClientSpeakWhatThePolicyAllows(t *testing.T) {
	certs := mtatest.NewCerts(t, "mail.example.org")
	open := func(version string) *tls.Config {
		t.Helper()
		s, err := tlsconf.Open(only(certs, version), nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.Config()
	}
	verified := func(name string) *tls.Config {
		c := tlsconf.Client(tlsconf.Verified, name)
		c.RootCAs = certs.Pool
		return c
	}
	old := tlsconf.Client(tlsconf.Unverified, "mail.example.org")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	tls12 := tlsconf.Client(tlsconf.Unverified, "mail.example.org")
	tls12.MaxVersion = tls.VersionTLS12
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		want           string // the version, "" for none
	}{
		{"client of before 1.2", open("1.2"), old, ""},
		{"client of 1.2, server from 1.3", open("1.3"), tls12, ""},
		{"another name", open("1.2"), verified("mail.example.net"), ""},
		{"unknown authority", open("1.2"), tlsconf.Client(tlsconf.Verified, "mail.example.org"), ""},
		{"client of 1.2", open("1.2"), tls12, "TLSv1.2"},
		{"right name", open("1.3"), verified("mail.example.org."), "TLSv1.3"},
		{"another name, unverified", open("1.2"), tlsconf.Client(tlsconf.Unverified, "mail.example.net"), "TLSv1.3"},
	} {
		state, serverErr, err := handshake(t, c.server, c.client)
		if (err == nil) != (c.want != "") || err == nil && serverErr != nil {
			t.Errorf("%s: got errors %v, %v; want %q", c.name, err, serverErr, c.want)
			continue
		}
		if err == nil && !strings.HasPrefix(tlsconf.Describe(state), c.want+" TLS_") {
			t.Errorf("%s: got %q, want %s", c.name, tlsconf.Describe(state), c.want)
		}
	}
}

func TestSessionsResumeOverConfigsOfOneServer(t *testing.T) {
	certs := mtatest.NewCerts(t, "mail.example.org")
	s, err := tlsconf.Open(only(certs, "1.2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := tlsconf.Client(tlsconf.Verified, "mail.example.org")
	client.RootCAs, client.MaxVersion = certs.Pool, tls.VersionTLS12 // 1.3 sends its tickets after the handshake
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i, want := range []bool{false, true} {
		state, _, err := handshake(t, s.Config(), client)
		if err != nil || state.DidResume != want {
			t.Errorf("connection %d: got resumed %v, error %v; want %v", i, state.DidResume, err, want)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewCertificateIsTakenAndAFaultyOneIsNot(t *testing.T) {
	var c clock
	var log bytes.Buffer
	old, renewed := mtatest.NewCerts(t, "mail.example.org"), mtatest.NewCerts(t, "mail.example.org")
	s, err := tlsconf.OpenAt(only(old, "1.2"), maillog.New(maillog.NewText(&log, slog.LevelInfo)), c.now)
	if err != nil {
		t.Fatal(err)
	}
	first := serial(t, s)

	copyFile(t, renewed.CertFile, old.CertFile) // the certificate is there, the key not yet
	if got := serial(t, s); got != first {
		t.Error("at once: another certificate")
	}
	for range 3 {
		c.advance(5 * time.Second)
		if got := serial(t, s); got != first {
			t.Error("with half a pair: another certificate")
		}
	}
	if err := s.Reload(); err == nil {
		t.Error("reload of half a pair: got no error")
	}
	copyFile(t, renewed.KeyFile, old.KeyFile)
	c.advance(5 * time.Second)
	if got := serial(t, s); got == first || got != string(renewed.Leaf.Leaf.Raw) {
		t.Error("with the whole pair: the old certificate")
	}
	if err := os.Remove(old.CertFile); err != nil {
		t.Fatal(err)
	}
	c.advance(5 * time.Second)
	if got := serial(t, s); got != string(renewed.Leaf.Leaf.Raw) {
		t.Error("without the file: another certificate")
	}
	copyFile(t, renewed.CertFile, old.CertFile)
	if err := s.Reload(); err != nil {
		t.Errorf("reload of the mended pair: %v", err)
	}
	for event, want := range map[string]int{"certificate-refused": 2, "certificate-reloaded": 1} {
		if got := strings.Count(log.String(), "event="+event+" "); got != want {
			t.Errorf("got %d events %s, want %d:\n%s", got, event, want, &log)
		}
	}
}

func TestVersionsHaveTheirNames(t *testing.T) {
	for version, want := range map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3", 0x0305: "TLS-0305"} {
		if got := tlsconf.VersionName(version); got != want {
			t.Errorf("%#04x: got %q, want %q", version, got, want)
		}
	}
	if got := tlsconf.CipherName(tls.TLS_AES_128_GCM_SHA256); got != "TLS_AES_128_GCM_SHA256" {
		t.Errorf("got %q", got)
	}
}
