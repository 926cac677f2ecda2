package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// tlsa holds the records for port 25 against the certificate that smtpd shows.
func (k *dnsCheck) tlsa(ctx context.Context) {
	host := k.cfg.Hostname
	list, path, err := k.r.TLSA(ctx, 25, host)
	subject := "_25._tcp." + host
	switch {
	case err != nil && !dns.Permanent(err):
		k.missing("tlsa", levelWarning, subject, "", err)
		return
	case len(list) == 0 && !path.Secure:
		return // in a zone that is not signed there is nothing to publish
	}
	cert, err := ownCertificate(k.cfg)
	if err != nil {
		if len(list) > 0 {
			k.add("tlsa", levelFault, subject, "take the records out, or set tls.certificate", "there are records, and this host shows no certificate: %v", err)
		}
		return
	}
	fix := rr{name: subject, kind: "TLSA", value: "3 1 1 " + spkiSum(cert)}.line()
	if len(list) == 0 {
		k.add("tlsa", levelWarning, subject, fix, "no record, and the zone is signed: others could demand this certificate")
		return
	}
	for _, t := range list {
		if matchesLeaf(t, cert) {
			k.add("tlsa", levelOK, subject, "", "%d %d %d is this host's certificate", t.Usage, t.Selector, t.Matching)
			return
		}
	}
	k.add("tlsa", levelFault, subject, fix, "none of %s is this host's certificate: those who obey them send no mail here", count(len(list), "record"))
}

// ownCertificate is the one that smtpd shows to who asks for no other.
func ownCertificate(c *config.Config) (*x509.Certificate, error) {
	if c.TLS.Certificate == "" {
		return nil, errNoOwn
	}
	text, err := os.ReadFile(c.TLS.Certificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errNoOwn
	}
	return x509.ParseCertificate(block.Bytes)
}

// matchesLeaf says whether a record is one of DANE-EE for a certificate (RFC 6698 2.1); those of DANE-TA name its issuer,
// which may stand in the chain, and are taken on trust.
func matchesLeaf(t dns.TLSA, cert *x509.Certificate) bool {
	if t.Usage == 2 {
		return true
	}
	data := cert.Raw
	if t.Selector == 1 {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch t.Matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return t.Usage == 3 && hex.EncodeToString(data) == hex.EncodeToString(t.Data)
}

// greetTimeout bounds the wait for another server's greeting; some wait a while on purpose.
const greetTimeout = 30 * time.Second

// outbound connects to a mail server elsewhere: many networks let nothing out to port 25.
func (k *dnsCheck) outbound(ctx context.Context, probe string) {
	if probe == "" || k.cfg.Outbound.SmartHost.Kind != "" {
		return
	}
	list, err := k.r.MX(ctx, probe)
	if err != nil {
		k.missing("port25", levelWarning, probe, "posthouse check --dns --probe DOMAIN tries another", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	at := net.JoinHostPort(list[0].Host, strconv.Itoa(k.cfg.Outbound.Port))
	fix := "ask the provider to open the way out to port 25, or set outbound.smart_host"
	conn, err := k.r.Dial(ctx, "tcp", at, k.cfg.Outbound.IPv6, nil)
	if err != nil {
		k.add("port25", levelFault, at, fix, "%v: no mail leaves this host", err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(greetTimeout))
	line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220") {
		k.add("port25", levelFault, at, fix, "it greets with %q, %v", strings.TrimSpace(line), err)
		return
	}
	_, _ = io.WriteString(conn, "QUIT\r\n") // whatever it answers
	k.add("port25", levelOK, at, "", "answers")
}

// machine looks at what this host itself needs: the time, and room.
func (k *dnsCheck) machine() {
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err == nil {
		if tx.Status&unix.STA_UNSYNC != 0 {
			k.add("clock", levelWarning, k.cfg.Hostname, "install chrony or systemd-timesyncd", "nothing keeps the clock right: signatures and certificates depend on it")
		} else {
			k.add("clock", levelOK, k.cfg.Hostname, "", "is kept right")
		}
	}
	reserve := int64(k.cfg.SMTPD.ReserveDisk)
	for _, path := range []string{k.cfg.Spool.Path, layout.MailRoot(k.cfg)} {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			k.add("disk", levelFault, path, "", "%v", err)
			continue
		}
		free := int64(st.Bavail) * st.Bsize
		text := fmt.Sprintf("%s free", octets(free))
		switch {
		case free < reserve:
			k.add("disk", levelFault, path, "make room", "%s: smtpd takes no mail below smtpd.reserve_disk, %s", text, k.cfg.SMTPD.ReserveDisk)
		case free < 5*reserve || st.Files > 0 && st.Ffree < st.Files/50:
			k.add("disk", levelWarning, path, "make room", "%s, and %d of %d inodes", text, st.Ffree, st.Files)
		default:
			k.add("disk", levelOK, path, "", "%s", text)
		}
	}
}
