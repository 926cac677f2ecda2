package remote_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
)

// TestProbe: a host is asked for recipients on one connection, and gets nothing.
func TestProbe(t *testing.T) {
	for _, ext := range [][]string{{"PIPELINING", "SIZE 1000"}, nil} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		n.opt.ReuseMax, n.opt.ReuseIdle = 10, time.Minute
		s := n.host("192.0.2.1", &mtatest.Sink{Extensions: ext, On: func(command string) string {
			switch {
			case strings.HasPrefix(command, "RCPT TO:<no@"):
				return "550 5.1.1 unknown"
			case strings.HasPrefix(command, "RCPT TO:<later@"):
				return "450 4.2.1 later"
			}
			return ""
		}})
		c := remote.New(n.opt)
		for rcpt, want := range map[string]string{"yes@d.test": "delivered 250 2.1.5 by d.test", "no@d.test": "failed 550 5.1.1 by d.test", "later@d.test": "deferred 450 4.2.1 by d.test"} {
			got, _ := c.Deliver(t.Context(), remote.Request{Dest: mta.Destination{Domain: "d.test"}, Rcpts: []mta.Recipient{{Address: addr(rcpt)}}, Content: content(""), Probe: true})
			n.expect(rcpt, got, want)
		}
		c.Close()
		if said := s.Commands(); len(s.Messages()) != 0 || slices.Contains(said, "DATA") || !slices.Contains(said, "MAIL FROM:<>") || len(n.dials) != 1 {
			t.Errorf("it got %q and %v on connections %v", said, s.Messages(), n.dials)
		}
	}
}
