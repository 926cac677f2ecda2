package main

import (
	"bytes"
	"context"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/verify"
)

// router is mta/route as smtpd sees it, with the next hosts that are asked for their recipients.
type router struct {
	r        *route.Router
	verifier *verify.Verifier
	out      *remote.Client
}

// Accept implements smtpd.Router.
func (r router) Accept(ctx context.Context, a mta.Address) (smtpd.Destination, error) {
	v := r.r.Accept(ctx, a)
	d := smtpd.Destination{Relay: !v.Ours, Refusal: v.Reply, Login: v.Login, Quota: v.Quota}
	if v.Ask != nil && r.out != nil {
		d.Verify = func(ctx context.Context) mta.Reply { return r.verifier.Ask(ctx, r.probe, *v.Ask, v.Address) }
	}
	return d, v.Cause
}

// probe asks as a report would come: from nobody.
func (r router) probe(ctx context.Context, dest mta.Destination, rcpt mta.Address) mta.Outcome {
	out, _ := r.out.Deliver(ctx, remote.Request{
		Dest: dest, Rcpts: []mta.Recipient{{Address: rcpt}}, Content: message.NewReader("", nil, bytes.NewReader(nil), 0), Probe: true,
	})
	return out[0]
}

// newOutbound returns what asks next hosts, nil where no domain wants that. A client waits for the answer: it has to come soon.
func newOutbound(c *config.Config) (*remote.Client, error) {
	wanted := false
	for _, d := range c.Domains {
		wanted = wanted || d.Recipients == "verify"
	}
	if !wanted {
		return nil, nil
	}
	o, err := remote.FromConfig(c)
	if err != nil {
		return nil, err
	}
	if o.Resolver, err = remote.ResolverFromConfig(c); err != nil {
		return nil, err
	}
	o.Connect, o.Total = 10*time.Second, time.Minute
	o.Limits = smtpc.Timeouts{Greeting: 30 * time.Second, Command: 30 * time.Second}
	return remote.New(o), nil
}
