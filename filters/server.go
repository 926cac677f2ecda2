package filters

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// server is a Filter on the wire.
type server struct {
	proto.UnimplementedFilterServer
	f Filter
}

func (s *server) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeResponse, error) {
	i := s.f.Describe()
	r := &proto.DescribeResponse{
		Name: valid(i.Name), Version: valid(i.Version), Summary: valid(i.Summary), Roles: i.Roles, Edits: i.Edits, Parallel: i.Parallel, ReadsMessage: !i.EnvelopeOnly,
	}
	add := func(has bool, stage proto.Stage) {
		if has {
			r.Stages = append(r.Stages, stage)
		}
	}
	_, ok := s.f.(Connecter)
	add(ok, proto.Stage_STAGE_CONNECT)
	_, ok = s.f.(Helloer)
	add(ok, proto.Stage_STAGE_HELLO)
	_, ok = s.f.(SenderChecker)
	add(ok, proto.Stage_STAGE_SENDER)
	_, ok = s.f.(RecipientChecker)
	add(ok, proto.Stage_STAGE_RECIPIENT)
	_, ok = s.f.(MessageChecker)
	add(ok, proto.Stage_STAGE_MESSAGE)
	_, ok = s.f.(DoneHearer)
	add(ok, proto.Stage_STAGE_DONE)
	return r, nil
}

func (s *server) Configure(_ context.Context, q *proto.ConfigureRequest) (*proto.ConfigureResponse, error) {
	c, ok := s.f.(Configurer)
	if !ok {
		if err := NewSettings(q.Settings).Decode(&struct{}{}); err != nil {
			return configureError(err), nil
		}
		return &proto.ConfigureResponse{}, nil
	}
	return configureError(c.Configure(siteOf(q.Site), Settings{q.Settings})), nil
}

func configureError(err error) *proto.ConfigureResponse {
	r := &proto.ConfigureResponse{}
	var at *SettingsError
	switch {
	case errors.As(err, &at):
		r.Error, r.Line = valid(at.Msg), int32(at.Line)
	case err != nil:
		r.Error = valid(err.Error())
	}
	return r
}

func siteOf(p *proto.Site) *Site {
	s := &Site{
		Hostname: p.GetHostname(), AuthservID: p.GetAuthservId(), LocalDomains: p.GetLocalDomains(), Resolvers: p.GetResolvers(),
		SharedStoreURL: p.GetSharedStoreUrl(), StateDirectory: p.GetStateDirectory(),
		SubmitSocket: p.GetSubmitSocket(),
	}
	for _, k := range p.GetDkimKeys() {
		s.DKIMKeys = append(s.DKIMKeys, DKIMKey{k.Domain, k.Selector, k.Path})
	}
	return s
}

func (s *server) Activate(ctx context.Context, _ *proto.ActivateRequest) (*proto.ActivateResponse, error) {
	r := &proto.ActivateResponse{}
	if a, ok := s.f.(Activator); ok {
		if err := a.Activate(ctx); err != nil {
			r.Error = valid(err.Error())
		}
	}
	return r, nil
}

type judge func(context.Context, *Event) (*Verdict, error)

func (s *server) Connect(ctx context.Context, e *proto.Event) (*proto.Verdict, error) {
	if f, ok := s.f.(Connecter); ok {
		return answer(ctx, e, f.Connect)
	}
	return &proto.Verdict{}, nil
}

func (s *server) Hello(ctx context.Context, e *proto.Event) (*proto.Verdict, error) {
	if f, ok := s.f.(Helloer); ok {
		return answer(ctx, e, f.Hello)
	}
	return &proto.Verdict{}, nil
}

func (s *server) Sender(ctx context.Context, e *proto.Event) (*proto.Verdict, error) {
	if f, ok := s.f.(SenderChecker); ok {
		return answer(ctx, e, f.Sender)
	}
	return &proto.Verdict{}, nil
}

func (s *server) Recipient(ctx context.Context, e *proto.Event) (*proto.Verdict, error) {
	if f, ok := s.f.(RecipientChecker); ok {
		return answer(ctx, e, f.Recipient)
	}
	return &proto.Verdict{}, nil
}

func (s *server) Message(ctx context.Context, e *proto.Event) (*proto.Verdict, error) {
	if f, ok := s.f.(MessageChecker); ok {
		return answer(ctx, e, f.Message)
	}
	return &proto.Verdict{}, nil
}

func (s *server) Done(ctx context.Context, q *proto.DoneRequest) (*proto.DoneResponse, error) {
	if f, ok := s.f.(DoneHearer); ok {
		f.Done(ctx, q.Session, q.Id, Fate(q.Fate))
	}
	return &proto.DoneResponse{}, nil
}

// answer asks a method. A panic is its failure for this one message, and not the end of all sessions.
func answer(ctx context.Context, e *proto.Event, ask judge) (v *proto.Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			Log().Error("panic", "value", p, "stack", string(debug.Stack()))
			v, err = nil, status.Error(codes.Internal, valid(fmt.Sprintf("panic: %v", p)))
		}
	}()
	got, err := ask(ctx, eventOf(e))
	if err != nil {
		return nil, status.Error(codes.Unknown, valid(err.Error()))
	}
	return got.wire(), nil
}

func (v *Verdict) wire() *proto.Verdict {
	if v == nil {
		return &proto.Verdict{}
	}
	p := &proto.Verdict{
		Action: proto.Action(v.Action), Code: uint32(max(v.Code, 0)), Enhanced: valid(v.Enhanced), Text: valid(v.Text), Edits: v.edits, Score: v.Score, DelayMs: delay(v.Delay),
	}
	for _, n := range v.Notes {
		w := &proto.Note{Method: valid(n.Method), Result: valid(n.Result), Reason: valid(n.Reason), Hidden: n.Hidden}
		for _, q := range n.Properties {
			w.Properties = append(w.Properties, &proto.Property{Type: valid(q.Type), Name: valid(q.Name), Value: valid(q.Value)})
		}
		p.Notes = append(p.Notes, w)
	}
	return p
}

func eventOf(p *proto.Event) *Event {
	e := &Event{
		Session: p.Session, Role: p.Role, Listener: p.Listener, ClientName: p.ClientName, Local: p.ClientIsLocal, UID: p.ClientUid,
		TLSVersion: p.TlsVersion, TLSCipher: p.TlsCipher, Login: p.Login, Helo: p.Helo, ESMTP: p.Esmtp,
		HasSender: p.HasSender, Sender: p.Sender, BodyType: p.BodyType, SMTPUTF8: p.Smtputf8, AuthParam: p.AuthParam, SizeParam: p.SizeParam,
		Recipient: p.Recipient, Recipients: p.Recipients, Score: p.Score,
	}
	if a, err := netip.ParseAddr(p.ClientAddress); err == nil {
		e.Client = netip.AddrPortFrom(a, uint16(p.ClientPort))
	}
	for _, n := range p.Notes {
		note := Note{Filter: n.Filter, Method: n.Method, Result: n.Result, Reason: n.Reason, Hidden: n.Hidden}
		for _, q := range n.Properties {
			note.Properties = append(note.Properties, Property{q.Type, q.Name, q.Value})
		}
		e.Notes = append(e.Notes, note)
	}
	if m := p.Message; m != nil {
		e.Message = &Message{ID: m.Id, path: m.Path, size: m.Size, headerSize: m.HeaderSize, prepend: string(m.Prepend), bodyPath: m.BodyPath}
		for _, c := range m.Cuts {
			e.Message.cuts = append(e.Message.cuts, span{c.Offset, c.Length})
		}
	}
	return e
}
