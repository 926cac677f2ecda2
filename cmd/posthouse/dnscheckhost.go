package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// greetTimeout bounds the wait for another server's connection and greeting; some wait a while on purpose.
const greetTimeout = 30 * time.Second

// dialTimeout bounds the wait for a connection to one address.
const dialTimeout = 10 * time.Second

// addressLine is the record of this host's address, as far as this machine knows it.
func (k *dnsCheck) addressLine() string {
	for _, a := range append(slices.Clone(k.leaves), k.own...) {
		if reachableByAll(a) {
			return addressRR(k.cfg.Hostname, a).line()
		}
	}
	return k.cfg.Hostname + ". IN A ..., this host's public address"
}

func addressRR(host string, a netip.Addr) rr {
	return rr{name: host, kind: map[bool]string{true: "A", false: "AAAA"}[a.Is4()], value: a.String()}
}

// host looks the addresses up that DNS gives this host, and whether they are this machine's. False: there is nobody to ask, and all
// other questions would wait for that in turn.
func (k *dnsCheck) host(ctx context.Context, l *findings) bool {
	host := k.cfg.Hostname
	addrs, err := k.r.Addrs(ctx, host, true)
	var absent net.Error
	switch {
	case errors.As(err, &absent):
		l.add("resolver", levelUnknown, host, "name servers that answer, in outbound.resolver or /etc/resolv.conf", "nothing can be asked: %v", err)
		return false
	case err != nil:
		l.missing("address", levelFault, host, k.addressLine(), err)
		return true
	}
	k.addrs = addrs
	for _, a := range addrs {
		k.address(ctx, a, l)
	}
	for _, a := range k.leaves {
		if len(k.cfg.Outbound.Source) == 0 && reachableByAll(a) && !slices.Contains(addrs, a) {
			also := ""
			if a.Is6() {
				also = ", or set outbound.ipv6 = false"
			}
			l.add("address", levelFault, host, addressRR(host, a).line()+also, "mail leaves this host from %s, which is not among its addresses in DNS: many refuse that", a)
		}
	}
	return true
}

// address looks whether a published address leads to this machine. Behind address translation only whoever answers there tells.
func (k *dnsCheck) address(ctx context.Context, a netip.Addr, l *findings) {
	host := k.cfg.Hostname
	switch {
	case !reachableByAll(a):
		l.add("address", levelFault, host, k.addressLine(), "%s is an address that others cannot reach", a)
		return
	case slices.Contains(k.own, a):
		l.add("address", levelOK, host, "", "%s", a)
		return
	}
	name, err := k.greeting(ctx, netip.AddrPortFrom(a, 25).String(), dialTimeout)
	public := slices.ContainsFunc(k.own, func(o netip.Addr) bool { return reachableByAll(o) && o.Is4() == a.Is4() })
	switch {
	case err == nil && strings.EqualFold(name, host):
		l.add("address", levelOK, host, "", "%s, where it answers", a)
	case err == nil:
		l.add("address", levelFault, host, k.addressLine(), "%s is the address of another machine: %s answers there", a, name)
	case public:
		l.add("address", levelFault, host, k.addressLine(), "%s is none of this machine's addresses, and nobody answers there: %v", a, err)
	default:
		l.add("address", levelWarning, host, "see from elsewhere that port 25 of "+a.String()+" leads here", "%s is none of this machine's addresses, and from here nobody answers there: %v", a, err)
	}
}

// greeting connects to a mail server, and returns the name that it greets with.
func (k *dnsCheck) greeting(ctx context.Context, at string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := k.dial(ctx, "tcp", at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no greeting from %s: %w", at, err)
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "220") {
		return "", fmt.Errorf("%s greets with %q", at, line)
	}
	_, _ = io.WriteString(conn, "QUIT\r\n") // whatever it answers
	name, _, _ := strings.Cut(strings.TrimLeft(line[3:], "- "), " ")
	return name, nil
}

// names looks at the names behind the addresses that mail leaves from.
func (k *dnsCheck) names(ctx context.Context, l *findings) {
	for _, a := range k.senders() {
		k.reverse(ctx, a, l)
	}
}

// reverse looks at the name behind an address, and whether that leads back (RFC 8601 3, iprev).
func (k *dnsCheck) reverse(ctx context.Context, a netip.Addr, l *findings) {
	host := k.cfg.Hostname
	fix := fmt.Sprintf("let the provider of %s set its name (PTR) to %s: %s", a, host, ptrLine(a, host))
	names, err := k.r.Name(ctx, a)
	if err != nil {
		l.missing("ptr", levelFault, a.String(), fix, err)
		return
	}
	all := strings.Join(names, ", ")
	var unknown error
	back := slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		addrs, err := k.r.Addrs(ctx, n, true)
		if err != nil && !dns.Permanent(err) {
			unknown = err
		}
		return err != nil || !slices.Contains(addrs, a)
	})
	switch {
	case slices.Contains(back, host):
		l.add("ptr", levelOK, a.String(), "", "%s, which leads back", host)
	case unknown != nil:
		l.missing("ptr", levelUnknown, a.String(), "", unknown)
	case slices.Contains(names, host):
		l.add("ptr", levelFault, a.String(), addressRR(host, a).line(), "its name is %s, which does not lead back to it: many refuse that", host)
	case len(back) == 0:
		l.add("ptr", levelFault, a.String(), fix, "its name is %s, which does not lead back to it, and mail from it says it is %s: many refuse that", all, host)
	case generic(back[0], a):
		l.add("ptr", levelFault, a.String(), fix, "its name is %s, as providers give to everybody: many refuse mail from such a name", back[0])
	default:
		l.add("ptr", levelWarning, a.String(), fix, "its name is %s, which leads back, and mail from it says it is %s: some refuse that", all, host)
	}
}

func ptrLine(a netip.Addr, host string) string {
	return dns.Reverse(a) + ". IN PTR " + host + "."
}

// dynamic is in the names of addresses that providers lend.
var dynamic = regexp.MustCompile(`(^|[-.])(dyn|dynamic|dhcp|dsl|adsl|vdsl|ppp|pool|dialup|cable|cust|customer|broadband)[0-9]*([-.]|$)`)

// generic says whether a name is made out of the address, or of one that is lent.
func generic(name string, a netip.Addr) bool {
	if dynamic.MatchString(name) {
		return true
	}
	if a.Is6() {
		full := strings.ReplaceAll(a.StringExpanded(), ":", "")
		return strings.Contains(strings.NewReplacer("-", "", ".", "").Replace(name), full[16:])
	}
	b := a.As4()
	if strings.Contains(name, fmt.Sprintf("%02x%02x%02x%02x", b[0], b[1], b[2], b[3])) {
		return true
	}
	part := map[string]bool{}
	for _, s := range regexp.MustCompile(`[0-9]+`).FindAllString(name, -1) {
		part[strings.TrimLeft(s, "0")] = true
	}
	for _, octet := range b {
		if !part[strings.TrimLeft(strconv.Itoa(int(octet)), "0")] {
			return false
		}
	}
	return true
}

// outbound connects to a mail server elsewhere: many networks let nothing out to port 25. Each address of its first host has its
// own time, so that a way that is closed for IPv6 alone does not hide the other.
func (k *dnsCheck) outbound(ctx context.Context, probe string, l *findings) {
	if probe == "" || k.cfg.Outbound.SmartHost.Kind != "" {
		return
	}
	list, err := k.r.MX(ctx, probe)
	if err != nil {
		l.missing("port25", levelWarning, probe, "posthouse check --dns --probe DOMAIN tries another", err)
		return
	}
	host := list[0].Host
	addrs, err := k.r.Addrs(ctx, host, k.cfg.Outbound.IPv6)
	if err != nil {
		l.missing("port25", levelWarning, host, "posthouse check --dns --probe DOMAIN tries another", err)
		return
	}
	fix := "ask the provider to open the way out to port 25, or set outbound.smart_host"
	port := strconv.Itoa(k.cfg.Outbound.Port)
	var errs []error
	for _, a := range addrs[:min(len(addrs), 3)] {
		if _, err = k.greeting(ctx, net.JoinHostPort(a.String(), port), greetTimeout/3); err == nil {
			l.add("port25", levelOK, net.JoinHostPort(host, port), "", "answers")
			return
		}
		errs = append(errs, err)
	}
	l.add("port25", levelFault, net.JoinHostPort(host, port), fix, "%v: no mail leaves this host", strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
}

// reachableByAll says whether an address is one that everybody can reach.
func reachableByAll(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// leavesFrom are the addresses from which a connection to the world leaves this machine. Nothing is sent to find out.
func leavesFrom(c *config.Config) []netip.Addr {
	ways := []string{"198.41.0.4:25"} // a root server of DNS
	if c.Outbound.IPv6 {
		ways = append(ways, "[2001:503:ba3e::2:30]:25")
	}
	var list []netip.Addr
	for _, to := range ways {
		conn, err := net.Dial("udp", to)
		if err != nil {
			continue // there is no way for this kind of address
		}
		if a, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
			list = append(list, a.Addr().Unmap())
		}
		_ = conn.Close()
	}
	return list
}

// machine looks at what this host itself needs: the time, and room.
func (k *dnsCheck) machine(l *findings) {
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err == nil {
		if tx.Status&unix.STA_UNSYNC != 0 {
			l.add("clock", levelWarning, k.cfg.Hostname, "install chrony or systemd-timesyncd", "nothing keeps the clock right: signatures and certificates depend on it")
		} else {
			l.add("clock", levelOK, k.cfg.Hostname, "", "is kept right")
		}
	}
	reserve := int64(k.cfg.SMTPD.ReserveDisk)
	for _, path := range []string{k.cfg.Spool.Path, layout.MailRoot(k.cfg)} {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			l.add("disk", levelFault, path, "", "%v", err)
			continue
		}
		free := int64(st.Bavail) * st.Bsize
		text := fmt.Sprintf("%s free", octets(free))
		switch {
		case free < reserve:
			l.add("disk", levelFault, path, "make room", "%s: smtpd takes no mail below smtpd.reserve_disk, %s", text, k.cfg.SMTPD.ReserveDisk)
		case free < 5*reserve || st.Files > 0 && st.Ffree < st.Files/50:
			l.add("disk", levelWarning, path, "make room", "%s, and %d of %d inodes", text, st.Ffree, st.Files)
		default:
			l.add("disk", levelOK, path, "", "%s", text)
		}
	}
}
