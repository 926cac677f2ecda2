package runner

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta/control"
)

// Destinations implements control.Schedule.
func (r *Runner) Destinations(ctx context.Context) (list []control.Destination, err error) {
	err = r.ask(ctx, func(s *schedule) { list = s.destinations(time.Now()) })
	slices.SortFunc(list, func(a, b control.Destination) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

func (s *schedule) destinations(now time.Time) []control.Destination {
	list := []control.Destination{s.mailboxes()}
	domains := map[string][]string{}
	for d, n := range s.names {
		switch {
		case n.asking:
			list = append(list, control.Destination{Name: d.String(), State: control.DestLookup, Queued: len(n.waiting)})
		case s.sites[n.site] != nil:
			domains[n.site] = append(domains[n.site], d.String())
		}
	}
	for _, x := range s.sites {
		d := x.destination(now, s.set.MaxPerDestination)
		d.Domains = domains[x.name]
		slices.Sort(d.Domains)
		list = append(list, d)
	}
	return list
}

// mailboxes is what is done without the network: new messages are read, mailboxes written, reports made.
func (s *schedule) mailboxes() control.Destination {
	d := control.Destination{
		Name: control.LocalDest, State: control.DestUp, Window: s.set.MaxLocal, Connections: s.visiting,
		Queued: len(s.fresh) + len(s.tasks) + len(s.away),
	}
	if s.stalled.Load() {
		d.State, d.Reason = control.DestStalled, "the spool cannot be written; the log says why"
	}
	return d
}

func (x *site) destination(now time.Time, most int) control.Destination {
	d := control.Destination{
		Name: x.name, Window: x.ceiling(most), Connections: x.busy, Queued: x.queued, Waiting: x.holds, Success: x.proven,
	}
	switch {
	case x.closed(now):
		d.State, d.Window, d.Until = control.DestDead, 0, x.until
	case x.dead || x.deaths > 0:
		d.State = control.DestTrial
	case x.failures > 0:
		d.State = control.DestFailing
	case x.proven.IsZero():
		d.State = control.DestUnknown
	default:
		d.State = control.DestUp
	}
	if x.failures > 0 {
		d.Reason = reply(x.reason)
	}
	return d
}
