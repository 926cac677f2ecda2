package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
)

// junk is the folder of a mailbox for what nobody wants.
const junk = "Junk"

// mail is a message at AtMessage. Several filters may be asked about it at once, none of which edits it then.
type mail struct {
	draft *draft

	mu     sync.Mutex // guards below
	bodies int
	shown  *proto.Content // of shownOf, with and without the file
	bare   *proto.Content
	of     *draft
}

// name is the message's id; "" at the stages before it.
func (m *mail) name() mta.ID {
	if m == nil {
		return ""
	}
	return m.draft.id
}

// content is the message for one filter.
func (m *mail) content(path bool) (*proto.Content, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of != m.draft {
		m.shown, m.bare, m.of = nil, nil, m.draft
	}
	at := &m.bare
	if path {
		at = &m.shown
	}
	if *at == nil {
		c, err := m.draft.content(path)
		if err != nil {
			return nil, err
		}
		*at = c
	}
	c := *at
	return &proto.Content{Id: c.Id, Path: c.Path, Size: c.Size, HeaderSize: c.HeaderSize, Prepend: c.Prepend, Cuts: c.Cuts}, nil
}

// bodyPath is where a filter may write a new body: in its own folder.
func (m *mail) bodyPath(p *process) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bodies++
	return filepath.Join(p.dir, fmt.Sprintf("body-%s-%d", m.draft.id, m.bodies))
}

// forget removes what a filter may have written.
func (m *mail) forget(path string) {
	if path != "" {
		_ = os.Remove(path) // mostly there is nothing
	}
}

// Message is for smtpd.FilterSession.
func (s *Session) Message(ctx context.Context, e *mta.Event, env *mta.Envelope, mem []byte, path string) (mta.Verdict, io.ReadCloser) {
	s.begin()
	s.id, s.session = env.ID, e.Session
	o := s.h.options.Load()
	d, err := newDraft(o, env, mem, path)
	if errors.Is(err, errHeaderTooLong) || errors.Is(err, errManyFields) {
		return mta.Verdict{Action: mta.Refuse, Reply: mta.Reply{Code: 552, Enhanced: "5.3.4", Text: "Message refused: " + err.Error()}}, nil
	}
	if err != nil {
		return s.broken(e, env.ID, err), nil
	}
	defer d.files.remove()
	m := &mail{draft: d}
	if err := s.ready(o, m); err != nil {
		return s.broken(e, env.ID, err), nil
	}
	for _, sl := range *s.h.chain.Load() {
		if asked, p := sl.wants(proto.Stage_STAGE_DONE, e.Role); asked && p != nil && p.wants(proto.Stage_STAGE_MESSAGE, e.Role) {
			s.judged = append(s.judged, sl)
		}
	}
	v := s.stage(ctx, e, &s.tx, m)
	switch {
	case v.Action != mta.GoOn:
		return v, nil
	case s.tx.thrown != "":
		return mta.Verdict{Action: mta.Throw, By: s.tx.thrown, Delay: v.Delay}, nil
	case len(m.draft.rcpts) == 0:
		return mta.Verdict{Action: mta.Throw, By: "no recipient is left", Delay: v.Delay}, nil
	case o.ScoreReject > 0 && s.tx.score >= o.ScoreReject:
		o.Log.FilterVerdict(e.Session, env.ID, "score", e.Stage, "reject", fmt.Sprintf("score %.2f", s.tx.score))
		return mta.Verdict{Action: mta.Refuse, Reply: mta.Reply{Code: 550, Enhanced: "5.7.1", Text: "Message refused: it looks like spam"}, By: "score", Delay: v.Delay}, nil
	}
	r, err := s.finish(o, m, env)
	if err != nil {
		return s.broken(e, env.ID, err), nil
	}
	return v, r
}

// ready makes the draft what the first filter is to see.
func (s *Session) ready(o *Options, m *mail) error {
	r, err := m.draft.base.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := m.draft.header.dropForged(o.Site.AuthservId, r); err != nil {
		return err
	}
	for _, e := range s.tx.edits {
		if err := m.draft.envelope(e); err != nil {
			return err
		}
	}
	return nil
}

// broken is a fault of ours.
func (s *Session) broken(e *mta.Event, id mta.ID, err error) mta.Verdict {
	s.h.options.Load().Log.FilterFailed(e.Session, id, "", e.Stage, OnFailureTempFail, err)
	return mta.Verdict{Action: mta.NotJudged, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "Cannot check the mail now, try again later"}}
}

// finish writes all that was found and changed into the envelope.
func (s *Session) finish(o *Options, m *mail, env *mta.Envelope) (io.ReadCloser, error) {
	d := m.draft
	reason := ""
	switch {
	case s.tx.quarantine != "":
		reason = "quarantined by " + s.tx.quarantine
		if s.tx.why != "" {
			reason += ": " + s.tx.why
		}
	case o.ScoreJunk > 0 && s.tx.score >= o.ScoreJunk:
		for i := range d.rcpts {
			d.rcpts[i].Folder = junk
		}
	}
	if reason != "" && o.Quarantine == QuarantineHold {
		env.Hold = reason
	} else if reason != "" {
		for i := range d.rcpts {
			d.rcpts[i].Folder = junk
		}
	}
	if text := authField(o.Site.AuthservId, s.tx.notes); text != "" {
		d.header.fields = append([]field{{name: authResults, text: text}}, d.header.fields...)
	}
	var err error
	if env.Notes, err = notesOf(&s.tx); err != nil {
		return nil, err
	}
	r, err := d.finish(env)
	return r, err
}

// notesOf is what the envelope keeps of the findings, as JSON: results of all methods, and the score.
func notesOf(f *findings) (json.RawMessage, error) {
	type note struct {
		Filter     string            `json:"filter"`
		Method     string            `json:"method"`
		Result     string            `json:"result"`
		Properties map[string]string `json:"properties,omitempty"`
	}
	var out struct {
		Score      float64 `json:"score,omitempty"`
		Quarantine string  `json:"quarantine,omitempty"`
		Results    []note  `json:"results,omitempty"`
	}
	out.Score, out.Quarantine = f.score, f.quarantine
	for _, n := range f.notes {
		x := note{n.Filter, n.Method, n.Result, map[string]string{}}
		for _, p := range n.Properties {
			x.Properties[p.Type+"."+p.Name] = p.Value
		}
		out.Results = append(out.Results, x)
	}
	if out.Score == 0 && out.Quarantine == "" && len(out.Results) == 0 {
		return nil, nil
	}
	return json.Marshal(out)
}
