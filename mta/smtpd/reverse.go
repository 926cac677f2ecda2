package smtpd

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

const (
	reverseTime = 10 * time.Second // for all questions about a client's name
	maxNames    = 4                // of those that its address has are looked at
)

// reverse is the look for a client's name. It goes on beside the session.
type reverse struct {
	cancel context.CancelFunc
	done   chan struct{} // closed behind the last use of name
	name   string
}

// findName begins to look for the client's name. The session ends with endName.
func (s *session) findName() {
	if s.o.Resolver == nil || s.l.Role != mta.RoleMX || !s.remote.IsValid() || s.remote.Addr().IsLoopback() {
		return
	}
	ctx, cancel := context.WithTimeout(s.c.ctx, reverseTime)
	r := &reverse{cancel: cancel, done: make(chan struct{})}
	s.reverse = r
	go func(dns Resolver, a netip.Addr) {
		defer close(r.done)
		defer cancel()
		r.name = confirmed(ctx, dns, a)
	}(s.o.Resolver, s.remote.Addr())
}

// confirmed returns a name of the address that has the address (RFC 8601 2.7.3, iprev); "" when there is none, or when
// it cannot be found out.
func confirmed(ctx context.Context, dns Resolver, a netip.Addr) string {
	names, err := dns.Name(ctx, a)
	if err != nil {
		return ""
	}
	for _, name := range names[:min(len(names), maxNames)] {
		addrs, err := dns.Addrs(ctx, name, a.Is6())
		if err == nil && slices.Contains(addrs, a) {
			return name
		}
	}
	return ""
}

// name is the client's verified name, "" = none; it waits until that is known.
func (s *session) name() string {
	if s.reverse == nil {
		return ""
	}
	<-s.reverse.done
	return s.reverse.name
}

// nameSoFar is name without the wait.
func (s *session) nameSoFar() string {
	if s.reverse != nil {
		select {
		case <-s.reverse.done:
			return s.reverse.name
		default:
		}
	}
	return ""
}

func (s *session) endName() {
	if s.reverse != nil {
		s.reverse.cancel()
		<-s.reverse.done
	}
}
