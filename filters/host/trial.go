package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// Trial is a message that is put to the filters and taken by nobody.
type Trial struct {
	Event   mta.Event // of the whole session; the stage is set as it goes on
	Content []byte    // with CR LF line ends
	Late    bool      // the stages before the message are left out
}

// Answer is what one filter said at one stage. Times are in nanoseconds, in JSON too.
type Answer struct {
	Stage     string        `json:"stage"`
	Recipient string        `json:"recipient,omitempty"` // at that stage
	Filter    string        `json:"filter"`
	Verdict   string        `json:"verdict"`           // continue, edit, accept, reject, tempfail, discard, quarantine; failed where Failure says why
	Failure   string        `json:"failure,omitempty"` // on_failure has decided
	Reply     string        `json:"reply,omitempty"`   // of a refusal
	Text      string        `json:"text,omitempty"`
	Score     float64       `json:"score,omitempty"`
	Delay     time.Duration `json:"delay,omitempty"`
	Notes     []string      `json:"notes,omitempty"`
	Edits     []string      `json:"edits,omitempty"`
	Took      time.Duration `json:"took"`
}

// Fates of a message that was tried.
const (
	TrialTaken       = "taken"
	TrialRefused     = "refused"  // for good
	TrialDeferred    = "deferred" // refused for now
	TrialDiscarded   = "discarded"
	TrialQuarantined = "quarantined" // to the folder Junk, or held
)

// Outcome is what became of a message that was tried.
type Outcome struct {
	Answers    []Answer         `json:"answers"`
	Fate       string           `json:"fate"`
	By         string           `json:"by,omitempty"`    // who decided that
	Reply      string           `json:"reply,omitempty"` // of a refusal
	Stage      string           `json:"stage,omitempty"` // of a refusal
	Hold       string           `json:"hold,omitempty"`  // why it would be held
	Score      float64          `json:"score"`
	Delay      time.Duration    `json:"delay,omitempty"` // that the client waits, in all
	Sender     string           `json:"sender"`          // after the edits, as all that follows
	Recipients []TrialRecipient `json:"recipients,omitempty"`
	Message    []byte           `json:"-"` // rendered; nil where the message was not taken
}

// TrialRecipient is one who gets the message.
type TrialRecipient struct {
	Address string `json:"address"`
	Folder  string `json:"folder,omitempty"`
}

// Failed says that a filter has failed, whatever that meant for the message.
func (o *Outcome) Failed() bool {
	for _, a := range o.Answers {
		if a.Failure != "" {
			return true
		}
	}
	return false
}

// Try puts a message through all stages. A refused recipient is left out, and the message goes on while one is left.
func (h *Host) Try(ctx context.Context, t Trial) (*Outcome, error) {
	out := &Outcome{Sender: t.Event.Sender.String()}
	s := &Session{h: h, seen: out.add}
	defer s.End()
	e := t.Event
	rcpts := e.Rcpts
	e.Rcpts = nil
	ask := func(stage mta.Stage) bool {
		e.Stage = stage
		v := s.Ask(ctx, &e)
		return out.decided(&e, v)
	}
	e.HasSender = false
	sender := e.Sender
	e.Sender = mta.Address{}
	if t.Late {
		e.HasSender, e.Sender, e.Rcpts, e.Stage = true, sender, rcpts, mta.AtMessage
		return out, s.tryMessage(ctx, &e, t.Content, out)
	}
	if ask(mta.AtConnect) || ask(mta.AtHello) {
		return out, nil
	}
	e.HasSender, e.Sender = true, sender
	if ask(mta.AtSender) {
		return out, nil
	}
	for _, r := range rcpts {
		e.Rcpt = r.Address
		if !ask(mta.AtRecipient) {
			e.Rcpts = append(e.Rcpts, r)
		}
	}
	if len(e.Rcpts) == 0 {
		return out, nil
	}
	e.Stage, e.Rcpt = mta.AtMessage, mta.Address{}
	out.Fate, out.By, out.Reply, out.Stage = "", "", "", ""
	return out, s.tryMessage(ctx, &e, t.Content, out)
}

func (s *Session) tryMessage(ctx context.Context, e *mta.Event, content []byte, out *Outcome) error {
	env := &mta.Envelope{
		V: 1, ID: mta.NewID(time.Now()), Arrived: time.Now(), Role: e.Role, Sender: e.Sender, Rcpts: e.Rcpts, Body: e.Body, SMTPUTF8: e.SMTPUTF8,
		Login: e.Login, Size: int64(len(content)),
	}
	v, again := s.Message(ctx, e, env, content, "")
	out.Score = s.tx.score
	if again != nil {
		defer again.Close()
	}
	if out.decided(e, v) {
		return nil
	}
	if again != nil {
		b, err := io.ReadAll(again)
		if err != nil {
			return err
		}
		content = b
	}
	var b bytes.Buffer
	if _, err := message.NewReader(env.Prepend, env.Cut, bytes.NewReader(content), int64(len(content))).WriteTo(&b); err != nil {
		return err
	}
	out.Message, out.Sender, out.Hold = b.Bytes(), env.Sender.String(), env.Hold
	for _, r := range env.Rcpts {
		out.Recipients = append(out.Recipients, TrialRecipient{r.Address.String(), r.Folder})
	}
	out.Fate = TrialTaken
	o := s.h.options.Load()
	switch {
	case s.tx.quarantine != "":
		out.Fate, out.By = TrialQuarantined, s.tx.quarantine
	case o.ScoreJunk > 0 && s.tx.score >= o.ScoreJunk:
		out.Fate, out.By = TrialQuarantined, "score"
	}
	return nil
}

// decided takes what the filters of a stage came to; true = the session would not go on as if nothing was.
func (out *Outcome) decided(e *mta.Event, v mta.Verdict) bool {
	out.Delay += v.Delay
	switch v.Action {
	case mta.GoOn:
		return false
	case mta.Throw:
		out.Fate, out.By = TrialDiscarded, v.By
		return true
	}
	out.Fate, out.By, out.Reply, out.Stage = TrialRefused, v.By, v.Reply.String(), e.Stage.String()
	if v.Reply.Temporary() {
		out.Fate = TrialDeferred
	}
	return true
}

// add is a Session's seen.
func (out *Outcome) add(e *mta.Event, a answer) {
	x := Answer{Stage: e.Stage.String(), Filter: a.slot.name, Took: a.took}
	if e.Stage == mta.AtRecipient {
		x.Recipient = e.Rcpt.String()
	}
	if a.err != nil {
		x.Verdict, x.Failure = "failed", oneLine(a.err.Error(), 300)
		out.Answers = append(out.Answers, x)
		return
	}
	v := a.verdict
	x.Verdict, x.Text, x.Score, x.Delay = v.word(), v.text, v.score, v.delay
	if v.reply.Code != 0 {
		x.Reply = v.reply.String()
	}
	for _, n := range v.notes {
		x.Notes = append(x.Notes, noteLine(n))
	}
	for _, d := range v.edits {
		x.Edits = append(x.Edits, editLine(d))
	}
	out.Answers = append(out.Answers, x)
}

// noteLine is a note as Authentication-Results would have it (RFC 8601 2.2).
func noteLine(n *proto.Note) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s", n.Method, n.Result)
	if n.Reason != "" {
		fmt.Fprintf(&b, " reason=%q", n.Reason)
	}
	for _, p := range n.Properties {
		fmt.Fprintf(&b, " %s.%s=%s", p.Type, p.Name, p.Value)
	}
	if n.Hidden {
		b.WriteString(" (for filters alone)")
	}
	return b.String()
}

// editLine says what an edit does, in one line.
func editLine(e *proto.Edit) string {
	const n = 300
	switch x := e.GetEdit().(type) {
	case *proto.Edit_AddHeader:
		where := "on top"
		if x.AddHeader.GetBottom() {
			where = "at the end"
		}
		return fmt.Sprintf("header added %s: %s: %s", where, oneLine(x.AddHeader.GetName(), n), oneLine(string(x.AddHeader.GetValue()), n))
	case *proto.Edit_ReplaceHeader:
		return fmt.Sprintf("header replaced: %s (%d): %s", oneLine(x.ReplaceHeader.GetName(), n), x.ReplaceHeader.GetIndex(), oneLine(string(x.ReplaceHeader.GetValue()), n))
	case *proto.Edit_RemoveHeader:
		if x.RemoveHeader.GetIndex() == 0 {
			return fmt.Sprintf("header removed: %s (all)", oneLine(x.RemoveHeader.GetName(), n))
		}
		return fmt.Sprintf("header removed: %s (%d)", oneLine(x.RemoveHeader.GetName(), n), x.RemoveHeader.GetIndex())
	case *proto.Edit_ReplaceBody:
		return "body replaced"
	case *proto.Edit_ChangeSender:
		return "sender changed: <" + oneLine(strings.Trim(x.ChangeSender, "<>"), n) + ">"
	case *proto.Edit_AddRecipient:
		return "recipient added: " + oneLine(x.AddRecipient, n)
	case *proto.Edit_RemoveRecipient:
		return "recipient removed: " + oneLine(x.RemoveRecipient, n)
	case *proto.Edit_Deliver:
		who := "all"
		if x.Deliver.GetRecipient() != "" {
			who = oneLine(x.Deliver.GetRecipient(), n)
		}
		return fmt.Sprintf("folder for %s: %s", who, oneLine(x.Deliver.GetFolder(), n))
	}
	return "an edit of no known kind"
}
