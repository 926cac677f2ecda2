package dns

import (
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// FuzzReply reads any packet as a reply: it must neither crash nor loop, and what is taken from it obeys the bounds
// that the rest relies on.
func FuzzReply(f *testing.F) {
	q := new(wire.Msg)
	q.SetQuestion("a.test.", wire.TypeMX)
	for _, rr := range []string{"a.test. 60 IN MX 10 mx.a.test.", "a.test. 60 IN CNAME a.test.", `a.test. 60 IN TXT "\"\\\200"`} {
		m := new(wire.Msg)
		m.SetReply(q)
		r, err := wire.NewRR(rr)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, r)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := new(wire.Msg)
		if in.Unpack(b) != nil {
			return
		}
		m, err := parse(in)
		if err != nil {
			return
		}
		for _, k := range []rrtype{typeMX, typeA, typeTXT} {
			_, recs, links, _ := m.follow(question{"a.test", k}, maxAliases)
			if links > maxAliases {
				t.Errorf("%d aliases followed, want at most %d", links, maxAliases)
			}
			for _, rec := range recs {
				if rec.kind != k || rec.ttl < 0 || k == typeA && !rec.addr.Is4() {
					t.Errorf("record %+v for a question of type %s", rec, k)
				}
			}
		}
	})
}

func FuzzASCII(f *testing.F) {
	for _, s := range []string{"example.test", "bücher.test", "xn--bcher-kva.test", "_dmarc.a.test.", "a..b", "ａ．ｂ", "\u200d.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ascii(s)
		if err != nil {
			return
		}
		if len(a) > 253 || strings.ContainsFunc(a, func(c rune) bool { return c != '.' && notHostRune(c) }) {
			t.Errorf("ascii(%q) = %q", s, a)
		}
		if b, err := ascii(a); err != nil || a != b {
			t.Errorf("ascii(%q) = %q, but ascii of that is %q, %v", s, a, b, err)
		}
	})
}
