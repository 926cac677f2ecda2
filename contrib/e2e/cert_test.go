package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// authority is Pebble, an ACME server for tests, and the name server that it asks, on an address of their own.
type authority struct {
	ip        string
	directory string
	roots     string // a file with the certificate of its own web server
	asks      int    // the port at which it asks HTTP-01
	records   string // where the name server takes records: HTTP
	args      []string
	env       []string
	process   *exec.Cmd
}

// newAuthority starts one whose certificates are good for so many seconds.
func newAuthority(t *testing.T, validity int) *authority {
	t.Helper()
	mtatest.Need(t, "pebble")
	ip := ownIP()
	certs := mtatest.NewCerts(t, ip)
	port := func() int { return freePort(t, ip) }
	a := &authority{ip: ip, asks: port(), roots: filepath.Join(t.TempDir(), "roots.pem")}
	chain, err := os.ReadFile(certs.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Write(t, a.roots, string(chain))
	dns, records, listen := port(), port(), port()
	a.directory, a.records = fmt.Sprintf("https://%s:%d/dir", ip, listen), fmt.Sprintf("http://%s:%d", ip, records)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("%s:%d", ip, listen), "managementListenAddress": fmt.Sprintf("%s:%d", ip, port()),
		"certificate": certs.CertFile, "privateKey": certs.KeyFile, "httpPort": a.asks, "tlsPort": port(),
		"certificateValidityPeriod": validity,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pebble.json")
	mtatest.Write(t, file, string(conf))
	a.run(t, nil, mtatest.Need(t, "pebble-challtestsrv"), "-defaultIPv4", ip, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-dns01", fmt.Sprintf("%s:%d", ip, dns),
		"-management", fmt.Sprintf("%s:%d", ip, records))
	a.args = []string{mtatest.Need(t, "pebble"), "-config", file, "-dnsserver", fmt.Sprintf("%s:%d", ip, dns)}
	a.env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20", "PEBBLE_AUTHZREUSE=0")
	a.process = a.run(t, a.env, a.args[0], a.args[1:]...)
	a.await(t)
	return a
}

func (a *authority) await(t *testing.T) {
	t.Helper()
	pool := x509.NewCertPool()
	b, err := os.ReadFile(a.roots)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	mtatest.Eventually(t, func() error {
		res, err := c.Get(a.directory)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	})
}

func (a *authority) run(t *testing.T, env []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// again starts it anew: it knows nobody any more.
func (a *authority) again(t *testing.T) {
	t.Helper()
	_ = a.process.Process.Kill()
	_ = a.process.Wait()
	a.process = a.run(t, a.env, a.args[0], a.args[1:]...)
	a.await(t)
}

// asking gives an instance the table [acme], and its certificates to this authority.
func (a *authority) asking(t *testing.T, i *instance, more string) {
	t.Helper()
	i.text += fmt.Sprintf("[acme]\nemail = \"postmaster@here.test\"\ndirectory = %q\noutput = %q\nlisten = \"%s:%d\"\n%s", a.directory, filepath.Dir(i.certs.CertFile), a.ip, a.asks, more)
	mtatest.Write(t, i.conf, i.text)
}

// cert is `posthouse cert`, for which this authority's web server is one of the world.
func (a *authority) cert(t *testing.T, i *instance, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "posthouse"), append([]string{"cert", args[0], "--config", i.conf}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+a.roots, "SSL_CERT_DIR=/nowhere")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (a *authority) want(t *testing.T, i *instance, status int, said string, args ...string) {
	t.Helper()
	if got, out := a.cert(t, i, args...); got != status || !strings.Contains(out, said) {
		t.Fatalf("posthouse cert %v: got status %d, want %d and %q in\n%s", args, got, status, said, out)
	}
}

// presented is the certificate that a client of a port with TLS from the start sees.
func presented(t *testing.T, address, name string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

func TestCertificatesAreObtainedAndRenewedUnderRunningDaemons(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, 3600)
	i := newInstance(t, options{})
	a.asking(t, i, "")
	i.startAll()
	a.want(t, i, 1, "a stand-in", "status")
	a.want(t, i, 0, "event=certificate-installed", "renew")
	first := presentedFile(t, i)
	awaitPresented(t, i.submissions, "mx.here.test", first)
	if err := first.VerifyHostname("mx.here.test"); err != nil || !strings.Contains(first.Issuer.String(), "Pebble") {
		t.Errorf("got %v from %s", err, first.Issuer)
	}
	awaitPresented(t, i.pop3s, "mx.here.test", first)
	a.want(t, i, 0, "by  ", "status")

	if _, out := a.cert(t, i, "renew"); out != "" {
		t.Errorf("nothing is due: got\n%s", out)
	}
	// The authority has lost everything, the account too: it is made anew. The key stays, and so does a TLSA record.
	a.again(t)
	a.want(t, i, 0, "event=certificate-obtained", "renew", "--force")
	second := presentedFile(t, i)
	if string(second.RawSubjectPublicKeyInfo) != string(first.RawSubjectPublicKeyInfo) {
		t.Error("the key has changed in a renewal")
	}
	a.want(t, i, 0, "event=certificate-obtained", "renew", "--new-key")
	third := presentedFile(t, i)
	awaitPresented(t, i.submissions, "mx.here.test", third)
	if string(third.RawSubjectPublicKeyInfo) == string(second.RawSubjectPublicKeyInfo) {
		t.Error("--new-key: the key is the same")
	}
	if n := i.smtpd.Count("event=certificate-refused"); n > 0 {
		t.Errorf("smtpd has refused %d pairs", n)
	}
}

// awaitPresented waits until a certificate is presented.
func awaitPresented(t *testing.T, address, name string, want *x509.Certificate) {
	t.Helper()
	mtatest.Eventually(t, func() error {
		if got := presented(t, address, name); !got.Equal(want) {
			return fmt.Errorf("%s presents the certificate %x, want %x", address, got.SerialNumber, want.SerialNumber)
		}
		return nil
	})
}

// presentedFile is the certificate in the file.
func presentedFile(t *testing.T, i *instance) *x509.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(i.certs.CertFile, i.certs.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// A wildcard needs DNS-01.
func TestCertificatesByTheHookForDNS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, 3600)
	curl := mtatest.Need(t, "curl")
	i := newInstance(t, options{})
	dir := filepath.Dir(i.certs.CertFile)
	hook := filepath.Join(dir, "hook")
	script := fmt.Sprintf(`#!/bin/sh
echo "$@" >>%[1]s.calls
case $1 in
add) %[2]s -sS -d "{\"host\":\"$2.\",\"value\":\"$3\"}" %[3]s/set-txt ;;
remove) %[2]s -sS -d "{\"host\":\"$2.\"}" %[3]s/clear-txt ;;
esac
`, hook, curl, a.records)
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fullchain.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		mtatest.Write(t, filepath.Join(dir, "other", name), string(b))
	}
	a.asking(t, i, fmt.Sprintf("dns_hook = %[1]q\n[[tls.sni]]\nnames = [\"*.other.test\", \"other.test\"]\ncertificate = %[2]q\nkey = %[3]q\n",
		hook, filepath.Join(dir, "other/fullchain.pem"), filepath.Join(dir, "other/key.pem")))
	a.want(t, i, 0, "event=certificate-installed", "renew")
	i.startAll()
	if c := presented(t, i.submissions, "any.other.test"); c.VerifyHostname("any.other.test") != nil || c.VerifyHostname("other.test") != nil {
		t.Errorf("got a certificate for %v, want *.other.test and other.test", c.DNSNames)
	}
	calls, err := os.ReadFile(hook + ".calls")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"add _acme-challenge.mx.here.test ", "remove _acme-challenge.mx.here.test ", "add _acme-challenge.other.test "} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("the hook was not called with %q:\n%s", want, calls)
		}
	}
	if add, remove := strings.Count(string(calls), "add "), strings.Count(string(calls), "remove "); add != 3 || remove != 3 {
		t.Errorf("got %d calls for add and %d for remove, want three each", add, remove)
	}
}

// What goes wrong is told with what to do, and leaves what is there.
func TestACertificateThatCannotBeObtained(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, 3600)
	i := newInstance(t, options{})
	a.asking(t, i, "")
	before := presentedFile(t, i)
	good := i.text
	change := func(old, new string) { t.Helper(); mtatest.Write(t, i.conf, strings.Replace(good, old, new, 1)) }

	change(fmt.Sprintf("listen = \"%s:%d\"", a.ip, a.asks), fmt.Sprintf("listen = \"%s:%d\"", a.ip, freePort(t, a.ip)))
	a.want(t, i, 75, "What to do: let port 80 ", "renew")
	a.want(t, i, 1, "What to do", "status")

	change(a.directory, "https://127.0.0.1:1/dir")
	a.want(t, i, 69, "cannot be reached", "renew")

	hook := filepath.Join(i.dir, "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho no such zone\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	mtatest.Write(t, i.conf, good+fmt.Sprintf("dns_hook = %q\n", hook))
	a.want(t, i, 74, "exit status 3: no such zone", "renew")

	mtatest.Write(t, i.conf, strings.Replace(good, "[acme]", "[acmes]", 1))
	a.want(t, i, 78, "acmes", "renew")
	mtatest.Write(t, i.conf, strings.Replace(good, "postmaster@here.test\"\ndirectory", "\"\ndirectory", 1))
	a.want(t, i, 78, "acme.email is not set", "renew")

	mtatest.Write(t, i.conf, good)
	if !presentedFile(t, i).Equal(before) {
		t.Error("the certificate of before is gone")
	}
	busy := fmt.Sprintf("%s:%d", a.ip, a.asks)
	s := &http.Server{Addr: busy, ReadTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ListenAndServe() }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	mtatest.Eventually(t, func() error {
		if _, out := a.cert(t, i, "renew"); !strings.Contains(out, "another program has this address") {
			return fmt.Errorf("the port is taken: got\n%s", out)
		}
		return nil
	})
}
