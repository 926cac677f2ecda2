package smtpd_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// open is a queue whose messages can be read again.
type open struct{ *queue }

func (q open) Begin() (smtpd.Incoming, error) {
	in, err := q.queue.Begin()
	if err != nil {
		return nil, err
	}
	return &again{in.(*incoming)}, nil
}

type again struct{ *incoming }

func (m *again) Content() ([]byte, string, error) { return m.b.Bytes(), "", nil }
func (m *again) Restart()                         { m.b.Reset() }

// filters answers each stage with what a test wants, and writes down how it was asked.
type filters struct {
	verdicts map[mta.Stage]mta.Verdict
	message  func(env *mta.Envelope) string // "" = the content stays
	idle     []mta.Stage                    // for which nobody cares

	mu     sync.Mutex // guards below
	events []mta.Event
	fates  []mta.Fate
	seen   string
	ended  int
}

func (f *filters) Session(string) smtpd.FilterSession { return f }

func (f *filters) Asks(stage mta.Stage, _ string) bool { return !slices.Contains(f.idle, stage) }

func (f *filters) Ask(_ context.Context, e *mta.Event) mta.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, *e)
	return f.verdicts[e.Stage]
}

func (f *filters) Message(ctx context.Context, e *mta.Event, env *mta.Envelope, mem []byte, _ string) (mta.Verdict, io.ReadCloser) {
	v := f.Ask(ctx, e)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = string(mem)
	if f.message != nil {
		if s := f.message(env); s != "" {
			return v, io.NopCloser(strings.NewReader(s))
		}
	}
	return v, nil
}

func (f *filters) Reset(fate mta.Fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fate != 0 {
		f.fates = append(f.fates, fate)
	}
}

func (f *filters) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended++
}

const filtered = `S: 220 .*
C: EHLO client.test
L: 250 .*
C: MAIL FROM:<a@away.test> SIZE=123
S: 250 2.1.0 OK
C: RCPT TO:<bob@here.test>
S: 250 2.1.5 OK
C: DATA
S: 354 .*
C: Subject: x
C:
C: body
C: .
`

func TestFiltersAreAskedAtEachStageAndMayChangeTheMessage(t *testing.T) {
	q, log := &queue{}, &lines{}
	o := options(q, log)
	f := &filters{message: func(env *mta.Envelope) string {
		env.Prepend = "X-Tag: yes\r\n" + env.Prepend
		env.Rcpts[0].Folder = "Junk"
		return "Subject: x\r\n\r\nanother\r\n"
	}}
	o.Queue, o.Filters = open{q}, f
	addr := serve(t, o, smtpd.Listener{}, log)
	mtatest.Dialogue(t, dial(t, addr), filtered+"S: 250 2.0.0 Queued as .*\nC: QUIT\nS: 221 .*\nEOF\n", nil)
	all := q.all()
	if len(all) != 1 || all[0].content != "Subject: x\r\n\r\nanother\r\n" || !strings.HasPrefix(all[0].envelope.Prepend, "X-Tag: yes\r\nReceived:") || all[0].envelope.Rcpts[0].Folder != "Junk" {
		t.Errorf("got %+v", all)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var stages []mta.Stage
	for _, e := range f.events {
		stages = append(stages, e.Stage)
	}
	if len(stages) != 5 || stages[0] != mta.AtConnect || stages[4] != mta.AtMessage {
		t.Fatalf("got the stages %v, want each once", stages)
	}
	if e := f.events[3]; e.Rcpt.String() != "bob@here.test" || e.Sender.String() != "a@away.test" || !e.HasSender || e.Helo != "client.test" || !e.ESMTP || e.Size != 123 {
		t.Errorf("got the event %+v", e)
	}
	if f.seen != "Subject: x\r\n\r\nbody\r\n" || len(f.fates) != 1 || f.fates[0] != mta.Committed || f.ended != 1 {
		t.Errorf("got the content %q, fates %v, ended %d times", f.seen, f.fates, f.ended)
	}
}

func TestFiltersRefuse(t *testing.T) {
	no := mta.Verdict{Action: mta.Refuse, Reply: mta.Reply{Code: 550, Enhanced: "5.7.1", Text: "no"}}
	later := mta.Verdict{Action: mta.NotJudged, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "later"}}
	hello := "S: 220 .*\nC: HELO client.test\nS: 250 .*\n"
	mail := hello + "C: MAIL FROM:<a@away.test>\nS: 250 .*\n"
	data := mail + "C: RCPT TO:<bob@here.test>\nS: 250 .*\nC: DATA\nS: 354 .*\nC: x\nC: .\n"
	quit := "C: QUIT\nS: 221 .*\nEOF\n"
	for _, c := range []struct {
		name    string
		at      mta.Stage
		verdict mta.Verdict
		script  string
		log     string
	}{
		{"connect", mta.AtConnect, no, "S: 554 no\nEOF\n", "event=rejected"},
		{"connect, for now", mta.AtConnect, later, "S: 421 later\nEOF\n", "stage=connect"},
		{"hello", mta.AtHello, no, "S: 220 .*\nC: EHLO client.test\nS: 550 5.7.1 no\nC: MAIL FROM:<a@away.test>\nS: 503 .*\n" + quit, ""},
		{"sender", mta.AtSender, later, hello + "C: MAIL FROM:<a@away.test>\nS: 451 4.3.0 later\nC: RCPT TO:<bob@here.test>\nS: 503 .*\n" + quit, "stage=mail"},
		{"recipient", mta.AtRecipient, no, mail + "C: RCPT TO:<bob@here.test>\nS: 550 5.7.1 no\nC: DATA\nS: 554 .*\n" + quit, "stage=rcpt"},
		{"message", mta.AtMessage, no, data + "S: 550 5.7.1 no\n" + quit, "stage=content"},
		{"message, for now", mta.AtMessage, later, data + "S: 451 4.3.0 later\n" + quit, "stage=content"},
		{"thrown away", mta.AtMessage, mta.Verdict{Action: mta.Throw, By: "f"}, data + "S: 250 2.0.0 Queued as .*\n" + quit, "event=discarded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, log := &queue{}, &lines{}
			o := options(q, log)
			o.Queue, o.Filters = open{q}, &filters{verdicts: map[mta.Stage]mta.Verdict{c.at: c.verdict}}
			mtatest.Dialogue(t, dial(t, serve(t, o, smtpd.Listener{}, log)), c.script, nil)
			if n := len(q.all()); n != 0 || q.open != 0 {
				t.Errorf("got %d messages in the queue and %d open, want none", n, q.open)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("no %s in the log", c.log)
			}
		})
	}
}

func TestAQueueThatShowsNothingCannotBeFiltered(t *testing.T) {
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.Filters = &filters{}
	mtatest.Dialogue(t, dial(t, serve(t, o, smtpd.Listener{}, log)), filtered+"S: 451 4.3.0 .*\nC: QUIT\nS: 221 .*\nEOF\n", nil)
	if len(q.all()) != 0 || !strings.Contains(log.String(), "event=fault") {
		t.Error("want nothing in the queue and a fault in the log")
	}
}

func TestAFilterMakesTheClientWaitUntilTheServerStops(t *testing.T) {
	f := &filters{verdicts: map[mta.Stage]mta.Verdict{mta.AtConnect: {Delay: 5 * time.Second}, mta.AtHello: {Delay: time.Hour}, mta.AtSender: {Delay: 30 * time.Second}}}
	inBubble(t, func(o *smtpd.Options) { o.Filters = f }, func(t *testing.T, ln *pipes, _ *queue, stop func() error) {
		begin := time.Now()
		c := newClient(t, ln)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("the greeting came after %v, want 5s", took)
		}
		c.send("HELO c\r\n")
		c.expect("250 ")
		if took := time.Since(begin); took != 65*time.Second {
			t.Errorf("the reply to HELO came after %v, want the wait to be bounded: 65s", took)
		}
		c.send("MAIL FROM:<a@away.test>\r\n")
		synctest.Wait()
		go func() { _ = stop() }()
		c.expect("250 ")
		if took := time.Since(begin); took != 65*time.Second {
			t.Errorf("the reply to MAIL came after %v, want it at once when the server stops", took)
		}
		c.expect("421 ")
	})
}
