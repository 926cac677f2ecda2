package filtertest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// call is one call of a stage and its answer.
type call struct {
	method string
	event  *proto.Event
	answer *proto.Verdict
}

// intercept writes the calls of stages down, each with a message that is still there afterwards.
func (w *world) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	e, ok := req.(*proto.Event)
	v, judges := reply.(*proto.Verdict)
	w.mu.Lock()
	recording := w.record != nil
	w.mu.Unlock()
	if !ok || !judges || !recording {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	kept := protobuf.CloneOf(e)
	w.mu.Lock()
	n := len(w.record)
	w.mu.Unlock()
	if m := kept.Message; m != nil {
		m.BodyPath = filepath.Join(w.dir, "body-"+strconv.Itoa(n))
		if m.Path != "" {
			at := filepath.Join(w.dir, "message-"+strconv.Itoa(n))
			if err := copyFile(at, m.Path); err != nil {
				return err
			}
			m.Path = at
		}
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err == nil {
		w.mu.Lock()
		w.record = append(w.record, call{method[strings.LastIndexByte(method, '/')+1:], kept, protobuf.CloneOf(v)})
		w.mu.Unlock()
	}
	return err
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// again makes a call once more, of another filter.
func (c call) again(ctx context.Context, f proto.FilterClient) (*proto.Verdict, error) {
	if c.event.Message != nil {
		_ = os.Remove(c.event.Message.BodyPath) // of the time before
	}
	switch c.method {
	case "Connect":
		return f.Connect(ctx, c.event)
	case "Hello":
		return f.Hello(ctx, c.event)
	case "Sender":
		return f.Sender(ctx, c.event)
	case "Recipient":
		return f.Recipient(ctx, c.event)
	}
	return f.Message(ctx, c.event)
}
