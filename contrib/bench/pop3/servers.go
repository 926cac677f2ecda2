package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	login    = "bench@bench.test"
	password = "benchmark"
	mailUID  = 65534 // nobody, to whom Dovecot is told to turn
)

// server is one of those that take part.
type server struct {
	name    string
	tls     bool
	mailbox string // of login; NAME in it stands for the user
	addr    string
	start   func(s *server) error

	cmd *exec.Cmd
	ln  net.Listener // of a server that takes its connection as standard input

	mu       sync.Mutex // guards children
	children map[*exec.Cmd]bool
	spent    time.Duration // processor time of children that have ended
}

// user is the mailbox of one of the users: bench, or one of the small ones.
func (s *server) user(local string) string { return strings.Replace(s.mailbox, "LOCAL", local, 1) }

func (b *bench) newServer(name string) (*server, error) {
	dir := filepath.Join(b.dir, name)
	s := &server{name: name, tls: true, mailbox: filepath.Join(dir, "mail", "bench.test", "LOCAL"), children: map[*exec.Cmd]bool{}}
	switch name {
	case "posthouse":
		s.start = b.startPosthouse
	case "dovecot", "dovecot-plain", "dovecot-tuned":
		s.tls = name != "dovecot-plain"
		s.start = b.startDovecot
	case "courier", "courier-tls":
		s.tls = name == "courier-tls"
		s.start = b.startCourier
	default:
		return nil, fmt.Errorf("no server %q is known", name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", freePort())
	return s, nil
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (b *bench) startPosthouse(s *server) error {
	dir := filepath.Join(b.dir, s.name)
	var users strings.Builder
	for _, u := range b.users() {
		fmt.Fprintf(&users, "%s@bench.test {PLAIN}%s\n", u, password)
	}
	text := fmt.Sprintf(`hostname = "bench.test"
state = "%[1]s/state"
run = "%[1]s/run"
log.format = "text"
spool.path = "%[1]s/spool"
mailboxes.path = "%[1]s/mail/{domain}/{local}"
users.file = "%[1]s/users"
tls.certificate = "%[2]s/cert.pem"
tls.key = "%[2]s/key.pem"
pop3d.max_per_client = 1000
[domains."bench.test"]
[[pop3d.listen]]
address = %[3]q
tls = "implicit"
`, dir, b.dir, s.addr)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "users"), []byte(users.String()), 0o600), os.WriteFile(filepath.Join(dir, "posthouse.toml"), []byte(text), 0o600)); err != nil {
		return err
	}
	bin := filepath.Join(b.dir, "pop3d")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "github.com/posthouse-mail/posthouse/cmd/pop3d")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return s.launch(dir, bin, "--config", filepath.Join(dir, "posthouse.toml"))
}

func (b *bench) startDovecot(s *server) error {
	if os.Geteuid() != 0 {
		return errors.New("dovecot has to be started by root")
	}
	dir := filepath.Join(b.dir, s.name)
	var users strings.Builder
	for _, u := range b.users() {
		fmt.Fprintf(&users, "%s@bench.test:{PLAIN}%s\n", u, password)
	}
	host, port, _ := net.SplitHostPort(s.addr)
	listener := fmt.Sprintf("inet_listener pop3s {\n address = %s\n port = %s\n ssl = yes\n }\n inet_listener pop3 {\n port = 0\n }", host, port)
	if !s.tls {
		listener = fmt.Sprintf("inet_listener pop3 {\n address = %s\n port = %s\n }\n inet_listener pop3s {\n port = 0\n }", host, port)
	}
	tuned := ""
	if s.name == "dovecot-tuned" { // fewer processes, as its manual recommends for many logins
		tuned = "service pop3-login {\n service_count = 0\n process_min_avail = 2\n}\nservice pop3 {\n service_count = 256\n process_min_avail = 4\n}\n"
	}
	text := fmt.Sprintf(`protocols = pop3
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
listen = %[5]s
instance_name = %[6]s
mail_location = maildir:%[1]s/mail/%%d/%%n
mail_uid = %[2]d
mail_gid = %[2]d
first_valid_uid = 1
mail_max_userip_connections = 1000
ssl = yes
ssl_cert = <%[3]s/cert.pem
ssl_key = <%[3]s/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {
 driver = passwd-file
 args = %[1]s/users
}
userdb {
 driver = static
 args = uid=%[2]d gid=%[2]d home=%[1]s/mail/%%d/%%n
}
service pop3-login {
 %[4]s
}
service pop3 {
 process_limit = 1024
}
service stats {
 unix_listener stats-writer {
  mode = 0666
 }
}
%[7]s`, dir, mailUID, b.dir, listener, host, s.name, tuned)
	conf := filepath.Join(dir, "dovecot.conf")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "users"), []byte(users.String()), 0o644), os.WriteFile(conf, []byte(text), 0o644)); err != nil {
		return err
	}
	path, err := exec.LookPath("dovecot")
	if err != nil {
		return err
	}
	return s.launch(dir, path, "-F", "-c", conf)
}

// launch starts a program in the foreground and waits until it answers.
func (s *server) launch(dir, path string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(path, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for range 200 {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	out, _ := os.ReadFile(filepath.Join(dir, "output"))
	more, _ := os.ReadFile(filepath.Join(dir, "log"))
	return fmt.Errorf("%s does not answer at %s:\n%s%s", s.name, s.addr, out, more)
}

func (s *server) stop() {
	if s.ln != nil {
		_ = s.ln.Close()
	}
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// bothFile has key and certificate, which Courier wants in one.
const bothFile = "both.pem"

// makeCertificate writes a certificate that has signed itself, for all servers.
func makeCertificate(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench.test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
		DNSNames: []string{"bench.test"}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return pool, errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), text, 0o644), os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600),
		os.WriteFile(filepath.Join(dir, bothFile), append(keyPEM, text...), 0o600))
}

func (b *bench) dial(s *server, user string) (*client, error) {
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(10 * time.Minute))
	if s.tls {
		nc = tls.Client(nc, &tls.Config{RootCAs: b.trust, ServerName: "bench.test"})
	}
	return newClient(nc, user)
}
