package remote

import (
	"net/netip"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
)

func TestOwnSocketsAreThoseThatTakeMailForOurDomains(t *testing.T) {
	listen := func(all ...config.SMTPListen) *config.Config {
		return &config.Config{SMTPD: config.SMTPD{Listen: all}}
	}
	one := listen(config.SMTPListen{Address: "127.0.0.2:2525", Role: "mx"}, config.SMTPListen{Address: "127.0.0.2:2587", Role: "submission"},
		config.SMTPListen{Address: "[::1]:25", Role: "mx"}, config.SMTPListen{Address: "unix:/run/x.sock", Role: "local"})
	wild := listen(config.SMTPListen{Address: ":25", Role: "mx"})
	for _, c := range []struct {
		cfg  *config.Config
		addr string
		want bool
	}{
		{one, "127.0.0.3:2525", false}, // another instance on this machine
		{one, "127.0.0.2:2587", false}, // takes mail from users only
		{one, "127.0.0.2:25", false},
		{one, "127.0.0.2:2525", true},
		{one, "[::ffff:127.0.0.2]:2525", true},
		{one, "[::1]:25", true},
		{wild, "192.0.2.1:25", false},
		{wild, "127.0.0.1:2525", false},
		{wild, "127.0.0.1:25", true},
		{wild, "127.8.0.1:25", true},
		{wild, "[::1]:25", true},
		{listen(), "127.0.0.1:25", false},
	} {
		own, err := ownSockets(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := own(netip.MustParseAddrPort(c.addr)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.addr, got, c.want)
		}
	}
}
