package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// udpSize is the largest answer that we take over UDP: it crosses any link without fragments.
const udpSize = 1232

// maxStrays bounds the packets that are read while waiting for one reply: foreign ids, other questions, garbage.
const maxStrays = 32

// errFormat says that a server did not understand the question; it may not know EDNS.
var errFormat = errors.New("server answered FORMERR")

// errReferral says that a server sent us on to others: it neither knows the name nor looks it up for us, so that its empty
// answer does not tell what is there.
var errReferral = errors.New("server does not look names up for us")

type rrtype uint16

const (
	typeA     = rrtype(wire.TypeA)
	typeAAAA  = rrtype(wire.TypeAAAA)
	typeMX    = rrtype(wire.TypeMX)
	typeTXT   = rrtype(wire.TypeTXT)
	typePTR   = rrtype(wire.TypePTR)
	typeTLSA  = rrtype(wire.TypeTLSA)
	typeCNAME = rrtype(wire.TypeCNAME)
)

func (t rrtype) String() string { return wire.Type(t).String() }

// record is one resource record of the answer section; which of the last four fields count depends on kind.
type record struct {
	owner string // lower case, no final dot
	kind  rrtype
	ttl   time.Duration
	pref  uint16     // MX
	text  string     // host of MX, CNAME and PTR ("." is the root), text of TXT
	addr  netip.Addr // A and AAAA
	tlsa  *TLSA
}

// answer is a reply that a server vouches for.
type answer struct {
	nxdomain  bool
	truncated bool
	secure    bool          // the AD bit (RFC 6840 5.7, 5.8)
	soa       bool          // the authority section says that the chain ends here
	negTTL    time.Duration // RFC 2308 5; 0 without an SOA
	recs      []record
}

// follow walks the aliases in the answer from the asked name, at most limit of them, and returns where they end, the
// records of the asked type there, the number of aliases, and the least TTL on the way.
func (m *answer) follow(q question, limit int) (end string, recs []record, links int, least time.Duration) {
	end, least = q.name, 1<<62
	for {
		next := ""
		for _, rec := range m.recs {
			if rec.owner != end {
				continue
			}
			if rec.kind == q.kind {
				recs = append(recs, rec)
				least = min(least, rec.ttl)
			} else if rec.kind == typeCNAME && next == "" {
				next = rec.text
				least = min(least, rec.ttl)
			}
		}
		if len(recs) > 0 || next == "" || links >= limit {
			return end, recs, links, least
		}
		end = strings.TrimSuffix(next, ".")
		links++
	}
}

// exchange asks one question of one server. The connection is closed when ctx ends, which ends a read that waits.
func exchange(ctx context.Context, network, server string, q question, edns bool, timeout time.Duration) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // nothing unsent is in it
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	out := new(wire.Msg)
	out.SetQuestion(wire.Fqdn(q.name), uint16(q.kind))
	out.AuthenticatedData = true // asks for the bit in the answer, without the signatures (RFC 6840 5.7)
	if edns {
		out.SetEdns0(udpSize, false)
	}
	conn := &wire.Conn{Conn: c, UDPSize: 4096} // room for a server that overlooks udpSize
	if err := conn.WriteMsg(out); err != nil {
		return nil, err
	}
	in, err := readReply(conn, out, network == "udp")
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		return nil, fmt.Errorf("no answer within %v: %w", timeout, ctx.Err()) // whichever of the two ended the read
	}
	if err != nil {
		return nil, err
	}
	return parse(in)
}

// readReply waits for the reply to out. Over UDP anything may arrive, so what does not fit is passed over.
func readReply(conn *wire.Conn, out *wire.Msg, strays bool) (*wire.Msg, error) {
	for range maxStrays {
		in, err := conn.ReadMsg()
		var ne net.Error
		if errors.As(err, &ne) || errors.Is(err, io.EOF) {
			return nil, err
		}
		if err == nil && matches(in, out) {
			return in, nil
		}
		if !strays {
			if err == nil {
				err = errors.New("reply to another question")
			}
			return nil, err
		}
	}
	return nil, errors.New("too many packets that are no reply")
}

// matches compares what RFC 5452 9.1 asks for, less the addresses: the socket is connected.
func matches(in, out *wire.Msg) bool {
	if !in.Response || in.Id != out.Id || in.Opcode != wire.OpcodeQuery {
		return false
	}
	if len(in.Question) == 0 && in.Rcode == wire.RcodeFormatError {
		return true // some servers return nothing of a question that they could not read
	}
	return len(in.Question) == 1 && strings.EqualFold(in.Question[0].Name, out.Question[0].Name) &&
		in.Question[0].Qtype == out.Question[0].Qtype && in.Question[0].Qclass == out.Question[0].Qclass
}

// parse reduces a reply to what the package needs; an rcode other than NOERROR and NXDOMAIN is an error.
func parse(in *wire.Msg) (*answer, error) {
	m := &answer{nxdomain: in.Rcode == wire.RcodeNameError, truncated: in.Truncated, secure: in.AuthenticatedData}
	switch in.Rcode {
	case wire.RcodeSuccess, wire.RcodeNameError:
		if len(in.Answer) == 0 && !in.Authoritative && !in.RecursionAvailable && !in.Truncated {
			return nil, errReferral
		}
	case wire.RcodeFormatError:
		return nil, errFormat
	default:
		return nil, fmt.Errorf("server answered %s", wire.RcodeToString[in.Rcode])
	}
	for _, rr := range in.Answer {
		if rec, ok := convert(rr); ok {
			m.recs = append(m.recs, rec)
		}
	}
	for _, rr := range in.Ns {
		if soa, ok := rr.(*wire.SOA); ok {
			m.soa = true
			m.negTTL = ttl(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return m, nil
}

func convert(rr wire.RR) (record, bool) {
	h := rr.Header()
	if h.Class != wire.ClassINET {
		return record{}, false
	}
	owner := strings.ToLower(strings.TrimSuffix(h.Name, "."))
	rec := record{owner: owner, kind: rrtype(h.Rrtype), ttl: ttl(h.Ttl)}
	ok := true
	switch v := rr.(type) {
	case *wire.A:
		rec.addr, ok = netip.AddrFromSlice(v.A)
		rec.addr = rec.addr.Unmap()
	case *wire.AAAA:
		rec.addr, ok = netip.AddrFromSlice(v.AAAA)
	case *wire.MX:
		rec.pref, rec.text = v.Preference, strings.ToLower(v.Mx)
	case *wire.CNAME:
		rec.text = strings.ToLower(v.Target)
	case *wire.PTR:
		rec.text = strings.ToLower(v.Ptr)
	case *wire.TLSA:
		data, err := hex.DecodeString(v.Certificate)
		rec.tlsa, ok = &TLSA{v.Usage, v.Selector, v.MatchingType, data}, err == nil
	case *wire.TXT:
		rec.text = unescape(strings.Join(v.Txt, ""))
	default:
		ok = false
	}
	return rec, ok
}

// ttl reads a TTL's seconds: one with the top bit set counts as 0 (RFC 2181 8).
func ttl(s uint32) time.Duration {
	if s > 1<<31-1 {
		return 0
	}
	return time.Duration(s) * time.Second
}

func confServers(path string) ([]string, error) {
	c, err := wire.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("read name servers: %w", err)
	}
	var list []string
	for _, s := range c.Servers {
		list = append(list, strings.Trim(s, "[]"))
	}
	return list, nil
}

// Reverse is the name of an address in the reverse zone, without the final dot.
func Reverse(a netip.Addr) string {
	name, _ := reverseName(a) // which fails for what is no address alone
	return strings.TrimSuffix(name, ".")
}

func reverseName(a netip.Addr) (string, error) {
	name, err := wire.ReverseAddr(a.Unmap().WithZone("").String())
	if err != nil {
		return "", fmt.Errorf("%s: %w", a, ErrBadName)
	}
	return name, nil
}

// unescape undoes the library's presentation form (RFC 1035 5.1): \DDD and \X.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}
