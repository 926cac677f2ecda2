package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
)

// maxDelay bounds what the filters of a stage make a client wait, all together.
const maxDelay = time.Minute

// localPatience is how long a message from this machine waits for a filter that has failed, before it is taken without.
const localPatience = time.Minute

// Bounds of what filters come to in one transaction, in which each recipient has verdicts of its own. All of it is told to
// each filter, and kept in the envelope.
const (
	maxSaidInAll = 1 << 20 // octets of notes
	maxEditInAll = 4000    // edits before the message
)

// findings are what filters came to so far.
type findings struct {
	notes      []*proto.Note
	said       int // octets of notes
	score      float64
	thrown     string // the filter that wants the message thrown away
	quarantine string // the filter that wants it quarantined
	why        string
	edits      []*proto.Edit // of sender and recipients
}

func (f findings) clone() findings {
	f.notes, f.edits = slices.Clone(f.notes), slices.Clone(f.edits)
	return f
}

// room says whether more notes may be kept.
func (f *findings) room(notes []*proto.Note) error {
	if f.said+saidIn(notes) > maxSaidInAll {
		return fmt.Errorf("the notes of a message have more than %d octets, all filters' together", maxSaidInAll)
	}
	return nil
}

// saidIn is the size of notes, about as an envelope has it.
func saidIn(notes []*proto.Note) (n int) {
	const around = 64 // names and punctuation of JSON
	for _, x := range notes {
		n += around + len(x.Filter) + len(x.Method) + len(x.Result) + len(x.Reason)
		for _, p := range x.Properties {
			n += around/4 + len(p.Type) + len(p.Name) + len(p.Value)
		}
	}
	return n
}

// Session goes along with one SMTP session. It belongs to the session's goroutine.
type Session struct {
	h       *Host
	client  findings // of Connect and Hello
	hello   findings // of Connect alone: what a second HELO begins with
	tx      findings // those, and of the transaction
	open    bool
	judged  []*slot // that want to hear of the message's fate
	id      mta.ID
	session string
	seen    func(*mta.Event, answer) // of a trial: hears each answer; nil otherwise
}

// Asks is for smtpd.FilterSession.
func (s *Session) Asks(stage mta.Stage, role string) bool {
	return len(s.h.groups(wireStages[stage], role)) > 0
}

// Ask is for smtpd.FilterSession.
func (s *Session) Ask(ctx context.Context, e *mta.Event) mta.Verdict {
	switch e.Stage {
	case mta.AtConnect:
		v := s.stage(ctx, e, &s.client, nil)
		s.hello = s.client.clone()
		return v
	case mta.AtHello:
		s.client = s.hello.clone()
		return s.stage(ctx, e, &s.client, nil)
	}
	s.begin()
	before := s.tx.clone()
	v := s.stage(ctx, e, &s.tx, nil)
	if e.Stage == mta.AtRecipient && v.Action != mta.GoOn {
		s.tx = before // what was found, and edited, for a recipient that the message will not have
	}
	return v
}

func (s *Session) begin() {
	if !s.open {
		s.tx, s.open = s.client.clone(), true
	}
}

// Reset is for smtpd.FilterSession.
func (s *Session) Reset(fate mta.Fate) {
	if s.id != "" {
		if fate == 0 {
			fate = mta.Refused
		}
		s.h.tell(s.judged, &proto.DoneRequest{Session: s.session, Id: string(s.id), Fate: proto.Fate(fate)})
	}
	s.tx, s.open, s.judged, s.id = findings{}, false, nil, ""
}

// End is for smtpd.FilterSession.
func (s *Session) End() {
	if s.id != "" {
		s.Reset(mta.Dropped)
	}
}

// stage asks the filters of one stage. d is the message, at AtMessage.
func (s *Session) stage(ctx context.Context, e *mta.Event, f *findings, d *mail) mta.Verdict {
	var total mta.Verdict
	if f.thrown != "" {
		return total
	}
	stage := wireStages[e.Stage]
	for _, g := range s.h.groups(stage, e.Role) {
		answers := s.ask(ctx, g, stage, e, f, d)
		for _, a := range answers {
			v, end := s.take(e, f, d, a)
			total.Delay = min(total.Delay+a.verdict.delay, maxDelay)
			if end {
				v.Delay = total.Delay
				return v
			}
		}
	}
	return total
}

// answer is what one filter of a group said.
type answer struct {
	slot    *slot
	verdict verdict
	body    string // where it may have written a new body
	err     error
	took    time.Duration
}

// ask puts the same event to each of a group, at the same time where they are several.
func (s *Session) ask(ctx context.Context, g group, stage proto.Stage, e *mta.Event, f *findings, d *mail) []answer {
	answers := make([]answer, len(g))
	if len(g) == 1 {
		answers[0] = s.askOne(ctx, g[0], stage, s.wire(e, f, d), e, d)
		return answers
	}
	var all sync.WaitGroup
	for i, sl := range g {
		w := s.wire(e, f, d)
		all.Go(func() { answers[i] = s.askOne(ctx, sl, stage, w, e, d) })
	}
	all.Wait()
	return answers
}

// wire is the event with what is known from filters.
func (s *Session) wire(e *mta.Event, f *findings, d *mail) *proto.Event {
	if d == nil && len(f.edits) > 0 {
		e = edited(e, f.edits)
	}
	w := wireEvent(e)
	if d != nil {
		w.Sender, w.Recipients = utf8(d.draft.sender.String()), addresses(d.draft.rcpts)
	}
	w.Notes, w.Score = f.notes, f.score
	return w
}

// edited is the event as it is after the edits of earlier stages, which were found good.
func edited(e *mta.Event, edits []*proto.Edit) *mta.Event {
	d := &draft{sender: e.Sender, rcpts: slices.Clone(e.Rcpts), utf8: e.SMTPUTF8}
	for _, x := range edits {
		_ = d.envelope(x) // checked when it came
	}
	c := *e
	c.Sender, c.Rcpts = d.sender, d.rcpts
	return &c
}

// askOne makes one call. A local message waits for a filter that has failed: whoever sent it will not try again.
func (s *Session) askOne(ctx context.Context, sl *slot, stage proto.Stage, w *proto.Event, e *mta.Event, d *mail) answer {
	a := s.try(ctx, sl, stage, w, d)
	if a.err == nil || e.Role != mta.RoleLocal {
		return a
	}
	if onFailure, _ := sl.policy(); onFailure == OnFailureAccept {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	for a.err != nil && ctx.Err() == nil {
		pause(ctx, time.Second)
		if sl.back(ctx) {
			a = s.try(ctx, sl, stage, w, d)
		}
	}
	return a
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Session) try(ctx context.Context, sl *slot, stage proto.Stage, w *proto.Event, d *mail) answer {
	a := answer{slot: sl}
	var prepare func(*process, *proto.Event) error
	if d != nil {
		prepare = func(p *process, w *proto.Event) error {
			var err error
			w.Message, err = d.content(p.info.reads)
			if err == nil && p.info.edits {
				a.body = d.bodyPath(p)
				w.Message.BodyPath = a.body
			}
			return err
		}
	}
	begin := time.Now()
	v, edits, err := sl.ask(ctx, stage, w, prepare)
	a.took = time.Since(begin)
	if err != nil {
		a.err = err
		return a
	}
	a.verdict, a.err = checkVerdict(v, sl.name)
	if a.err == nil && len(a.verdict.edits) > 0 && !edits {
		a.err = errors.New("edits, though Describe says that there are none")
	}
	if a.err != nil {
		sl.counters.fail(stage)
	}
	return a
}

// take makes one filter's answer part of what was found. end says that v is the verdict of the stage.
func (s *Session) take(e *mta.Event, f *findings, d *mail, a answer) (v mta.Verdict, end bool) {
	if a.err == nil {
		if a.err = f.room(a.verdict.notes); a.err == nil {
			a.err = s.edit(e, f, d, a)
		}
		if a.err != nil {
			a.slot.counters.fail(wireStages[e.Stage])
		}
	}
	d.forget(a.body)
	if s.seen != nil {
		s.seen(e, a)
	}
	if a.err != nil {
		return s.failed(e, d, a)
	}
	x := a.verdict
	f.said += saidIn(x.notes)
	f.notes, f.score = append(f.notes[:len(f.notes):len(f.notes)], x.notes...), f.score+x.score
	word := x.word()
	a.slot.counters.decided(wireStages[e.Stage], word)
	if word != "continue" {
		s.h.options.Load().Log.FilterVerdict(e.Session, d.name(), a.slot.name, e.Stage, word, x.text)
	}
	switch x.action {
	case proto.Action_ACTION_ACCEPT:
		return mta.Verdict{}, true
	case proto.Action_ACTION_REJECT, proto.Action_ACTION_TEMPFAIL:
		return mta.Verdict{Action: mta.Refuse, Reply: x.reply, By: a.slot.name}, true
	case proto.Action_ACTION_DISCARD:
		f.thrown = a.slot.name
		return mta.Verdict{}, true
	case proto.Action_ACTION_QUARANTINE:
		if f.quarantine == "" {
			f.quarantine, f.why = a.slot.name, x.text
		}
	}
	return mta.Verdict{}, false
}

// edit makes all edits of a verdict, or none.
func (s *Session) edit(e *mta.Event, f *findings, d *mail, a answer) error {
	if len(a.verdict.edits) == 0 {
		return nil
	}
	if err := mayEdit(e.Stage, a.verdict.edits); err != nil {
		return err
	}
	if d != nil {
		next := d.draft.clone()
		if err := next.apply(a.verdict.edits, a.body); err != nil {
			return err
		}
		d.draft = next
		return nil
	}
	if len(f.edits)+len(a.verdict.edits) > maxEditInAll {
		return fmt.Errorf("more than %d edits before the message", maxEditInAll)
	}
	probe := &draft{utf8: e.SMTPUTF8}
	for _, x := range a.verdict.edits {
		if err := probe.envelope(x); err != nil {
			return err
		}
	}
	f.edits = append(f.edits[:len(f.edits):len(f.edits)], a.verdict.edits...)
	return nil
}

// failed does what on_failure says.
func (s *Session) failed(e *mta.Event, d *mail, a answer) (mta.Verdict, bool) {
	onFailure, _ := a.slot.policy()
	if e.Role == mta.RoleLocal {
		onFailure = OnFailureAccept
	}
	s.h.options.Load().Log.FilterFailed(e.Session, d.name(), a.slot.name, e.Stage, onFailure, fmt.Errorf("%s", oneLine(a.err.Error(), 300)))
	if onFailure == OnFailureAccept {
		return mta.Verdict{}, false
	}
	return mta.Verdict{
		Action: mta.NotJudged, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "Cannot check the mail now, try again later"}, By: a.slot.name,
	}, true
}

// tell sends Done to those that want it; what cannot be told at once is lost.
func (h *Host) tell(list []*slot, q *proto.DoneRequest) {
	for _, sl := range list {
		select {
		case h.notices <- struct{}{}:
		default:
			return
		}
		h.telling.Go(func() {
			defer func() { <-h.notices }()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if p, err := sl.acquire(ctx); err == nil {
				defer sl.release(p)
				_, _ = p.filter.Done(ctx, q) // best effort
			}
		})
	}
}
